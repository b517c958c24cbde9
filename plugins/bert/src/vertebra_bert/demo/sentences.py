"""Texts of the demo: sentences to compare, and remarks of happy and unhappy speakers.

The remarks come in pairs of nearly the same words. Negation, contrast and order decide which of the two speakers is
happy, and sentence embeddings hardly reflect them: "not bad at all" is close to "not good at all".
"""

from __future__ import annotations

PUBLISHED = ("A man is eating food.", "A man is eating a piece of bread.")
"""The pair in the documentation of sentence-transformers; MiniLM's embeddings of the two have a cosine of 0.7553."""

COMPARED = (
    "eating food",
    "eating bread",
    "riding a bicycle",
    "cycling to work",
    "a storm is coming",
    "it will rain soon",
)

_Pairs = tuple[tuple[str, str], ...]

TRAINING_PAIRS: _Pairs = (
    # Plain
    ("The soup was delicious.", "The soup was awful."),
    ("A wonderful hotel.", "A terrible hotel."),
    ("The staff were friendly and helpful.", "The staff were rude and useless."),
    ("What a clever film.", "What a stupid film."),
    ("The bed was comfortable.", "The bed was uncomfortable."),
    ("Our guide was excellent.", "Our guide was horrible."),
    ("I loved every minute of the concert.", "I hated every minute of the concert."),
    ("The garden looks beautiful.", "The garden looks ugly."),
    # Negation
    ("The soup was not bad at all.", "The soup was not good at all."),
    ("The hotel was not terrible.", "The hotel was not wonderful."),
    ("The staff were never rude to us.", "The staff were never friendly to us."),
    ("This film is not stupid.", "This film is not clever."),
    ("The bed was not uncomfortable.", "The bed was not comfortable."),
    ("I did not hate the concert.", "I did not love the concert."),
    ("I do not think the garden is ugly.", "I do not think the garden is beautiful."),
    ("The lesson was not boring.", "The lesson was not interesting."),
    ("The music is not awful.", "The music is not great."),
    ("That was not a bad dinner.", "That was not a good dinner."),
    ("My new phone is not slow.", "My new phone is not fast."),
    ("The room was not dirty at all.", "The room was not clean at all."),
    ("Nothing about the trip was boring.", "Nothing about the trip was exciting."),
    ("Nobody could call this book dull.", "Nobody could call this book brilliant."),
    ("There was nothing horrible about the train.", "There was nothing pleasant about the train."),
    ("The answer was far from useless.", "The answer was far from useful."),
    ("Hardly a dull moment in this play.", "Hardly a good moment in this play."),
    ("I would never call the shop expensive.", "I would never call the shop cheap."),
    ("No one was disappointed by the party.", "No one was delighted by the party."),
    ("The waiter was anything but rude.", "The waiter was anything but friendly."),
    # Contrast
    ("I expected a dull film, but it was brilliant.", "I expected a brilliant film, but it was dull."),
    ("The phone looked cheap, but it is excellent.", "The phone looked excellent, but it is cheap."),
    ("The soup smelled awful, but it tasted great.", "The soup smelled great, but it tasted awful."),
    ("At first I hated the hotel, then I loved it.", "At first I loved the hotel, then I hated it."),
    ("The book starts badly and ends well.", "The book starts well and ends badly."),
    ("They said the food was terrible, but it was good.", "They said the food was good, but it was terrible."),
    ("I thought it would be boring, and it was exciting.", "I thought it would be exciting, and it was boring."),
    ("The room was ugly, but I slept very well.", "The room was beautiful, but I slept very badly."),
    ("The play was slow, but in the end wonderful.", "The play was wonderful, but in the end slow."),
    ("The bus was dirty before and is clean now.", "The bus was clean before and is dirty now."),
    ("The guide was rude once, but now he is friendly.", "The guide was friendly once, but now he is rude."),
    ("The lesson began horribly and became excellent.", "The lesson began excellently and became horrible."),
    ("The concert was bad last year and great this time.", "The concert was great last year and bad this time."),
    ("The train is not fast, but it is pleasant.", "The train is fast, but it is not pleasant."),
    ("It is not cheap, but it is good.", "It is cheap, but it is not good."),
    ("The garden is small, but not ugly.", "The garden is small, and not beautiful."),
    ("It used to be useless, and today it is useful.", "It used to be useful, and today it is useless."),
    ("I feared an awful dinner and had a lovely one.", "I hoped for a lovely dinner and had an awful one."),
    ("The shop was terrible, until the new owner came.", "The shop was wonderful, until the new owner came."),
    ("The music was boring, but not the dance.", "The music was exciting, but not the dance."),
)

HELD_OUT_PAIRS: _Pairs = (
    # Plain
    ("The dinner was delicious.", "The dinner was horrible."),
    ("A pleasant and interesting walk.", "A boring and unpleasant walk."),
    ("Our teacher was brilliant.", "Our teacher was awful."),
    # Negation
    ("The coffee was not bad at all.", "The coffee was not good at all."),
    ("The film was not awful.", "The film was not great."),
    ("The doctor was never rude.", "The doctor was never friendly."),
    ("I did not hate the museum.", "I did not love the museum."),
    ("The kitchen is not dirty.", "The kitchen is not clean."),
    ("Nothing about the party was dull.", "Nothing about the party was exciting."),
    ("Nobody could call the song terrible.", "Nobody could call the song wonderful."),
    ("I do not think the lamp is ugly.", "I do not think the lamp is beautiful."),
    ("The advice was far from useless.", "The advice was far from useful."),
    # Contrast
    ("I expected a terrible meal, but it was excellent.", "I expected an excellent meal, but it was terrible."),
    ("The cake looked awful, but it tasted wonderful.", "The cake looked wonderful, but it tasted awful."),
    ("At first I hated the game, then I loved it.", "At first I loved the game, then I hated it."),
    ("The story starts badly and ends well.", "The story starts well and ends badly."),
    ("They said the beach was ugly, but it was beautiful.", "They said the beach was beautiful, but it was ugly."),
    ("I thought it would be dull, and it was brilliant.", "I thought it would be brilliant, and it was dull."),
    ("The driver was rude once, but now he is friendly.", "The driver was friendly once, but now he is rude."),
    ("The laptop is not cheap, but it is fast.", "The laptop is cheap, but it is not fast."),
)

EXAMPLE = HELD_OUT_PAIRS[3][0]
"""A remark whose words alone mislead: it is of a happy speaker."""


def labelled(pairs: _Pairs) -> tuple[list[str], list[int]]:
    """Returns the sentences of all pairs, and their labels: 1 for a happy and 0 for an unhappy speaker."""
    return [sentence for pair in pairs for sentence in pair], [1, 0] * len(pairs)
