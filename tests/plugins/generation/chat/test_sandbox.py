"""Hostile templates: refused with a typed error, in little time and memory, without reaching Python's internals."""

import resource
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_templates import TEMPLATES, say
from vertebra.errors import VertebraError
from vertebra_generation.chat.errors import ChatTemplateError
from vertebra_generation.chat.templates import ChatTemplates

MESSAGES = [say("user", "Hello <b>"), say("assistant", "Yes")]
GROWING = "{%% set ns = namespace(x=%s) %%}{%% for i in range(100) %%}{%% set ns.x = %s %%}{%% endfor %%}{{ ns.x }}"
HUGE = {
    "repeated text": "{{ 'a' * 10**9 }}",
    "repeated list": "{{ [1] * 10**9 }}",
    "repeated from the left": "{{ 10**9 * 'a' }}",
    "doubled text": GROWING % ("'ab'", "ns.x + ns.x"),
    "joined text": GROWING % ("'ab'", "ns.x ~ ns.x"),
    "doubled list": GROWING % ("[1]", "ns.x + ns.x"),
    "nested list": GROWING % ("[1]", "[ns.x, ns.x]"),
    "nested dict": GROWING % ("{}", "{'a': ns.x, 'b': ns.x}"),
    "nested tuple": GROWING % ("()", "(ns.x, ns.x)"),
    "captured": GROWING % ("'ab'", "ns.x")
    + "{% set y %}{% for i in range(9999) %}{{ 'abc' * 9999 }}{% endfor %}{% endset %}",
    "many texts": "".join(f"{{% set x{i} = 'abc' * 999999 %}}" for i in range(500)),
    "many lists": "".join(f"{{% set x{i} = [1] * 99999 %}}" for i in range(500)),
    "output": "{% for i in range(99999) %}{{ 'abc' * 9999 }}{% endfor %}",
    "macro": "{% macro f() %}{{ 'abc' * 99999 }}{% endmacro %}{% for i in range(9999) %}{{ f() }}{% endfor %}",
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "range": "{{ range(10**9) | list }}",
    "tree of macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "endless macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "recursive loop": "{% for x in [[1]] recursive %}{{ loop([[1], [1]]) }}{% endfor %}",
    "power": "{{ 2 ** (10 ** 10) }}",
    "squares": GROWING % ("10", "ns.x * ns.x"),
    "percent": "{{ '%1000000000d' % 1 }}",
    "percent star": "{{ '%*d' % (1000000000, 1) }}",
    "format": "{{ '{:1000000000}'.format(1) }}",
    "format by argument": "{{ '{:{}}'.format(1, 1000000000) }}",
    "format by name": "{{ '{:{w}}'.format(1, w=1000000000) }}",
    "format map": "{{ '{:{w}}{a}'.format_map({'w': 10**9, 'a': 1}) }}",
    "many formats": "{{ ('{:9999}' * 9999).format(1) }}",
    "format filter": "{{ '%1000000000d' | format(1) }}",
    "method format": "{% set f = '{:1000000000}'.format %}{{ f(1) }}",
    "center": "{{ 'a'.center(10**9) }}",
    "zfill": "{{ 'a'.zfill(10**9) }}",
    "center filter": "{{ 'a' | center(1000000000) }}",
    "indent filter": "{{ ('a\\n' * 9999) | indent(9999) }}",
    "indent text": "{{ ('a\\n' * 9999) | indent('a' * 9999) }}",
    "replace": "{{ ('a' * 9999).replace('a', 'b' * 9999) }}",
    "replace nothing": "{{ ('a' * 9999).replace('', 'b' * 9999) }}",
    "replace filter": "{{ ('a' * 9999) | replace('a', 'b' * 9999) }}",
    "join": "{{ range(9999) | join('b' * 9999) }}",
    "join method": "{{ ('b' * 9999).join(['a'] * 9999) }}",
    "join of a map": "{{ range(9999) | map('string') | map('replace', '1', 'b' * 9999) | join }}",
    "translate": "{{ ('a' * 9999).translate({97: 'b' * 9999}) }}",
    "expandtabs": "{{ ('\\t' * 9999).expandtabs(9999) }}",
    "json indent": "{{ [[[1]]] | tojson(indent=10**9) }}",
    "json separator": "{{ range(9999) | list | tojson(separators=('a' * 9999, ':')) }}",
    "batch": "{{ [1] | batch(10**9, 'x') | list }}",
    "slice": "{{ [1] | slice(10**9) | list }}",
    "lipsum": "{{ lipsum(10**6) }}",
    "strftime": "{{ strftime_now('%c' * 99999) }}",
    "sum of lists": "{{ ([[1] * 9999] * 9999) | sum(start=[]) }}",
    "deep expression": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep blocks": "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "long source": "a" * 600_000,
    "deep json": (GROWING % ("[]", "[ns.x]")).replace("100", "5000").replace("}}", "| tojson }}"),
}
FORBIDDEN = {
    "class": "{{ ''.__class__.__mro__ }}",
    "class by attr": "{{ (''|attr('__class__')).__mro__ }}",
    "globals": "{{ raise_exception.__globals__['x'] }}",
    "method globals": "{{ dict.fromkeys.__func__.__globals__ }}",
    "cycler": "{{ cycler.__init__.__globals__.os }}",
    "self": "{{ self.__init__.__globals__.os }}",
    "namespace": "{{ namespace(__class__=1) }}",
    "namespace item": "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "format attributes": "{{ '{0.__class__.__mro__}'.format(1) }}",
    "format map": "{{ '{a.__class__.__mro__}'.format_map({'a': 1}) }}",
    "stored format": "{% set f = '{0.__class__.__mro__}'.format %}{{ f(1) }}",
    "format by attr": "{{ ('{0.__class__.__mro__}' | attr('format'))(1) }}",
    "format by map": "{{ ['{0.__class__.__mro__}'] | map(attribute='format') | map('string') | join }}{{ 1.x.y }}",
    "subclasses": "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}{{ 1.x.y }}",
    "CVE-2024-34359": "{{ lipsum.__globals__['os'].popen('touch FLAG').read() }}",
    "CVE-2026-5760": "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ cycler.__init__.__globals__ }}",
    "GHSA-46cm-pfwv-cgf8": "{% for x in (1, 2) %}{{ self.__init__.__globals__.x }}{% endfor %}",
    "CVE-2024-56326": "{% set f = '{0.__class__}'.format %}{{ [1] | map(f) | list }}",
    "CVE-2025-27516": "{{ ('{0.__class__}' | attr('format'))(1) }}",
    "mutation": "{{ messages.append(1) }}",
    "update": "{{ messages[0].update({'a': 1}) }}",
    "encode": "{{ 'a'.encode('idna') }}",
    "include": "{% include 'config.json' %}",
    "import": "{% import 'x' as y %}",
    "extends": "{% extends 'x' %}",
    "debug": "{% debug %}",
    "environment": "{{ environment.x.y }}",
    "map attribute": "{{ ['a'] | map(attribute='__class__') | map(attribute='__mro__') | list | first | first }}",
    "code": "{{ namespace.__init__.__code__.co_code }}",
}


def render(source):
    return ChatTemplates({"default": source}).render(MESSAGES)


@pytest.mark.parametrize("source", HUGE.values(), ids=HUGE)
def test_huge_computations_are_refused(source):
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ChatTemplateError):
        render(source)
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


@pytest.mark.parametrize("source", FORBIDDEN.values(), ids=FORBIDDEN)
def test_internals_are_out_of_reach(source):
    try:
        text = render(source)
    except ChatTemplateError:
        return
    assert not text.strip()


def test_attributes_with_underscores_are_undefined():
    assert render("{{ ''.__class__ }}{{ messages.__len__ }}{{ raise_exception.__globals__ }}") == ""


def test_the_words_of_a_template_are_shown_without_control_characters():
    with pytest.raises(ChatTemplateError, match=r"it refuses the conversation: no\\x1b\[2J\. Change the messages"):
        render("{{ raise_exception('no\x1b[2J') }}")


def test_errors_name_the_line():
    with pytest.raises(ChatTemplateError, match="it failed in line 3: 'x' is undefined"):
        render("a\nb\n{{ x.y }}")
    with pytest.raises(ChatTemplateError, match="line 2 is no valid Jinja"):
        render("a\n{% for %}")


def test_messages_are_not_changed_by_templates():
    messages = [say("user", ["a"])]
    ChatTemplates({"default": "{% set messages = [] %}"}).render(messages)
    assert messages == [say("user", ["a"])]


WORDS = [
    "{{",
    "}}",
    "{%",
    "%}",
    " for ",
    " in ",
    "messages",
    " x ",
    "range(9)",
    ".content",
    "|",
    "tojson",
    "join",
    " if ",
]
WORDS += [
    " endif ",
    " endfor ",
    " set ",
    "=",
    "'a'",
    "[",
    "]",
    "(",
    ")",
    " * ",
    " + ",
    " ~ ",
    "99",
    ".format",
    ":",
    "loop",
]
WORDS += [
    " generation ",
    " endgeneration ",
    " macro ",
    "f",
    " endmacro ",
    "-",
    " break ",
    "namespace",
    ".x",
    "__class__",
]


@given(
    st.lists(st.sampled_from(WORDS), max_size=25).map("".join), st.sampled_from(sorted(TEMPLATES)), st.integers(0, 3000)
)
def test_damaged_templates_raise_our_errors_alone(inserted, name, position):
    source = TEMPLATES[name]
    position %= len(source)
    for text in (inserted, source[:position] + inserted + source[position:]):
        try:
            assert isinstance(render(text), str)
        except VertebraError as error:
            found = str(error)
            assert found.isprintable()
