"""A small grammar of English, for the training sentences of the small preset and most of its vocabulary."""

from __future__ import annotations

import random
import re

WORDS = {
    "person": """teacher doctor nurse farmer driver waiter cook singer writer painter guide neighbour friend student
        child baby mother father sister brother uncle aunt king queen soldier pilot judge player boss owner guest
        stranger man woman boy girl engineer lawyer baker tailor postman librarian gardener dentist actor dancer""",
    "animal": """dog cat horse cow sheep goat pig bird duck chicken eagle owl fish shark whale snake frog spider bee
        butterfly ant mouse rabbit fox wolf bear lion tiger elephant monkey""",
    "food": """bread soup cake cheese rice pasta pizza salad apple orange banana lemon potato tomato onion carrot
        egg meat chicken sandwich chocolate butter honey sugar salt dinner lunch breakfast meal dessert biscuit pie
        sauce food""",
    "drink": "water coffee tea milk juice wine beer lemonade",
    "thing": """phone laptop computer camera lamp chair table bed door window key clock watch knife spoon cup plate
        bottle bag box coat shirt shoe hat umbrella pencil letter book newspaper picture map guitar piano violin drum
        ball toy ring candle mirror pillow blanket carpet radio television machine tool hammer rope basket ladder
        tent""",
    "story": """film book play story song concert game lesson lecture speech show novel poem letter article dance
        music party""",
    "place": """house room kitchen garden hotel restaurant shop market school hospital office bank station airport
        museum library theatre church castle park forest river lake mountain beach island desert field farm village
        city town street bridge harbour square factory cellar attic valley coast""",
    "vehicle": "car bus train bicycle boat ship plane truck taxi motorcycle tram ferry",
    "service": """staff service trip journey walk holiday tour visit answer advice plan idea work weather view menu
        price""",
    "weather": "rain snow wind storm fog sun thunder frost hail",
    "good": """good great nice lovely wonderful brilliant excellent delicious exciting clever clean friendly
        helpful comfortable useful beautiful pleasant perfect interesting amazing charming fresh warm fast cheap
        delightful""",
    "bad": """bad awful terrible horrible dull boring ugly dirty rude useless noisy broken uncomfortable
        disappointing unpleasant poor cold slow stupid expensive stale nasty miserable dreadful worthless""",
    "quality": """big small old new young long short high low wide narrow heavy light dark bright red blue green
        yellow black white brown round square empty full quiet loud wet dry hot strange famous""",
    "feeling": """happy sad angry tired afraid proud bored excited delighted disappointed worried calm lonely hungry
        ill""",
    "liked": "loved liked enjoyed praised admired recommended",
    "disliked": "hated disliked feared regretted avoided criticised",
    "made": """bought sold found lost painted repaired cleaned carried dropped opened closed broke stole hid moved
        built used""",
    "went": "walked ran drove travelled went returned hurried came moved",
    "doing": """eating cooking baking buying selling tasting sharing drinking riding driving cycling walking running
        swimming climbing reading writing singing dancing painting building repairing cleaning watching playing
        learning teaching sleeping working travelling fishing gardening shopping waiting""",
    "when": "today yesterday tomorrow soon now again often always sometimes later early late tonight once",
    "very": "very really quite rather so too",
}
"""Words by category."""

_THING = ("{story}", "{place}", "{food}", "{thing}", "{vehicle}", "{service}", "{person}", "{drink}")

_REMARKS = """
the X was {good} | the X was {bad} | the X was {very} {good} | the X was {very} {bad} | what a {good} X
what a {bad} X | the X was not {good} | the X was not {bad} | the X was not {good} at all | the X was not {bad} at all
the X is not {bad} | the X is not {good} | that was not a {good} X | that was not a {bad} X | i {liked} the X
i {disliked} the X | i did not love the X | i did not hate the X | nobody {liked} the X | nobody {disliked} the X
i do not think the X is {good} | i do not think the X is {bad} | the X was never {bad} | the X was never {good}
nothing about the X was {good} | nothing about the X was {bad} | there was nothing {bad} about the X
nobody could call this X {good} | nobody could call this X {bad} | hardly a {good} X | hardly a {bad} X
i would never call the X {good} | i would never call the X {bad} | no one was disappointed by the X
no one was delighted by the X | the X was far from {bad} | the X was far from {good} | the X was anything but {good}
the X was anything but {bad} | i expected a {bad} X , but it was {good} | i expected a {good} X , but it was {bad}
the X looked {good} , but it is {bad} | the X looked {bad} , but it is {good} | the X was {good} , but not the Y
at first i hated the X , then i loved it | at first i loved the X , then i hated it
the X is {good} , and the Y is {bad} | the X starts well and ends badly | the X starts badly and ends well
the X was {bad} before and is {good} now | the X was {good} before and is {bad} now
they said the X was {good} , but it was {bad} | it is {good} , but it is not {good}
they said the X was {bad} , but it was {good} | i thought it would be {bad} , and it was {good}
it is not {good} , but it is {good} | i thought it would be {good} , and it was {bad}
the X used to be {good} , and today it is {bad} | the X is not {bad} , but {good}
the X was {bad} , until the {person} came | i hoped for a {good} X and had a {bad} one
the X became {good} in the end
"""

_FACTS = """
the {person} {made} the {thing} | the {person} {made} a {quality} {thing} {when} | my {thing} is {quality}
the {person} {went} to the {place} | the {person} {went} to the {place} by {vehicle} | the {vehicle} is in the {place}
a {quality} {animal} | the {animal} is in the {place} | the {animal} {went} through the {place} | {doing}
{doing} {when} | {doing} {food} | {doing} a {thing} | {doing} in the {place} | {doing} to work | {doing} a {vehicle}
{doing} with a {person} | drinking {drink} | eating {food} | eating {food} and drinking {drink}
cooking {food} for the {person} | buying {food} | baking {food} | riding a {vehicle} | riding a bicycle
cycling to work | cycling to the {place} | driving a {vehicle} | reading a {story} | writing a letter
a {weather} is coming | it will {weather} soon | it will {weather} {when} | there is {weather} in the {place}
the {weather} was {very} {quality} | a {quality} {weather} | clouds over the {place} | the sky is {quality} {when}
the {person} is {feeling} | the {person} is {very} {feeling} | i am {feeling} {when} | is the {person} {feeling}
who {made} the {thing} | where is the {thing} | where is the {place} | when does the {vehicle} leave
how old is the {place} | the {person} has a {quality} {animal} | the {person} plays the {thing}
we had {food} and {drink} for {food} | a cup of {drink} | the {quality} {thing} is on the {quality} {thing}
my {person} lives in a {quality} {place} | our {person} is a {person}
"""


def sentences(count: int, seed: int) -> list[str]:
    """Returns distinct random sentences of the grammar."""
    generator = random.Random(seed)
    shapes = [shape.strip() for text in (_REMARKS, _FACTS) for line in text.split("\n") for shape in line.split("|")]
    shapes = [shape for shape in shapes if shape]
    drawn: dict[str, None] = {}
    while len(drawn) < count:
        drawn[_fill(generator.choice(shapes), generator)] = None
    return list(drawn)


def vocabulary() -> set[str]:
    """Returns all words of the grammar's sentences."""
    shapes = re.sub(r"\{\w+\}|[XY|]", " ", _REMARKS + _FACTS)
    return {word for text in [*WORDS.values(), shapes] for word in text.split()}


def _fill(shape: str, generator: random.Random) -> str:
    """Replaces each category in a shape by a random word of it, and first X and Y by a random category of `_THING`."""
    for letter in "XY":
        shape = re.sub(rf"\b{letter}\b", generator.choice(_THING), shape)
    return re.sub(r"\{(\w+)\}", lambda match: generator.choice(WORDS[match[1]].split()), shape)
