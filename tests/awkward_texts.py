"""Texts on which tokenizers disagree: scripts, accents, control characters, long words, special tokens in texts."""

import random
import unicodedata

_WORDS = """
the quick brown fox jumps over lazy dogs unbelievable 1234567890 3.14159 e-mail don't I'll they've
a.b@c.de Straße naïve café ÉCOLE İstanbul ıssız ﬁnancial ﬀ ǅungla Ωmega ὈΔΥΣΣΕΎΣ Привет МИР Ёлка 你好世界 東京都
かな カタカナ ｶﾀｶﾅ 한국어 ㄱㅏ สวัสดีครับ हिन्दी क्षि বাংলা தமிழ் ქართული አማርኛ ᚠᚢᚦ שָׁלוֹם عربي مَرْحَبًا
\u200f\u0645\u0631\u062d\u0628\u0627\u200e עברית \u202eabc\u202c 👩‍👩‍👧‍👦 👍🏽 🇩🇪 ☃️ ½ ² ① № ™ … “quoted”
‘so’ — – - ´ ` ^ ¨ 𝒳𝔬𝕦 𠀀𠀁 😀 ﷽ Å Å Å ṩ ẛ̣ q̣̇ Z̸̧̛a̴l̵g̶o̷ ﬅ ǆ ß ẞ ſ ŉ
"""
WORDS = _WORDS.split()
SPACES = [
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\u200b",
    "\u2028",
    "\ufeff",
    "\x0b",
]
CONTROLS = [
    "\x00",
    "\x01",
    "\x1b[31m",
    "\x7f",
    "\x85",
    "\xad",
    "\u200d",
    "\u2060",
    "\ufffd",
    "\ufffe",
    "\U000e0001",
    "\ue000",
]
_SPECIAL = """
[CLS] [SEP] [PAD] [MASK] [UNK] [cls] <s> </s> <pad> <mask> <unk> <bos> <eos> <|endoftext|> <extra_id_0>
<start_of_turn> [MASK ] < s> ##ing ▁the ▁ Ġthe <0x0A> <0x41>
"""
SPECIAL = _SPECIAL.split()
PUNCTUATION = [*"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "...", "!!", "''", "``", "¿", "、", "。", "٪", "·"]
MARKS = ["\u0301", "\u0308", "\u0323", "\u0338", "\u20dd", "\ufe0f", "\u0e31", "\u093f"]


def awkward_texts(count: int, seed: int = 0) -> list[str]:
    """Returns texts, the same ones for one seed."""
    draw = random.Random(seed)
    fixed = ["", " ", "\n", *SPACES, *CONTROLS, *SPECIAL, *PUNCTUATION, *MARKS, *WORDS, "a" * 101, "a" * 5000, "é" * 99]
    fixed += [f" {word}" for word in WORDS] + [f"{word} " for word in WORDS] + [word * 60 for word in WORDS]
    fixed += [f"{space}{special}{space}" for special in SPECIAL for space in SPACES]
    fixed += [f"a{special}b {special}{special} c" for special in SPECIAL]
    texts = fixed[:count]
    while len(texts) < count:
        texts.append(_text(draw))
    return texts


def _text(draw: random.Random) -> str:
    parts = []
    for _ in range(draw.choice((1, 2, 3, 5, 8, 13, 30))):
        parts.append(_piece(draw))
        parts.append(draw.choice(SPACES) if draw.random() < 0.2 else draw.choice((" ", " ", " ", "")))
    return "".join(parts)


def _piece(draw: random.Random) -> str:
    kind = draw.random()
    if kind < 0.6:
        word = draw.choice(WORDS)
        return draw.choice((str, str.upper, str.lower, str.title, _decomposed, _reversed))(word)
    if kind < 0.75:
        return draw.choice(PUNCTUATION) * draw.choice((1, 1, 3))
    if kind < 0.82:
        return draw.choice(SPECIAL)
    if kind < 0.88:
        return draw.choice(CONTROLS)
    if kind < 0.94:
        return draw.choice(WORDS)[:3] + draw.choice(MARKS) * draw.choice((1, 2))
    return "".join(_character(draw) for _ in range(draw.choice((1, 3, 10))))


def _character(draw: random.Random) -> str:
    while True:
        character = chr(draw.randrange(0x110000))
        if not 0xD800 <= ord(character) < 0xE000:
            return character


def _decomposed(word: str) -> str:
    return unicodedata.normalize("NFD", word)


def _reversed(word: str) -> str:
    return word[::-1]


def training_texts(count: int = 1000) -> list[str]:
    """Returns sentences of the same words, for the vocabulary of a small tokenizer: texts then have unknown tokens."""
    draw = random.Random(9)
    return [" ".join(draw.choices(WORDS + PUNCTUATION, k=12)) for _ in range(count)]
