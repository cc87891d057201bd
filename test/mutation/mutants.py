"""Finds the mutants of a C++ source: small changes that a test should notice.

A tokenizer and a few rules, no parser: it relies on how clang-format sets this project's code, where an operator
between two operands has spaces around it and the angle brackets of templates have none.
"""

import re
from dataclasses import dataclass

TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>//[^\n]*|/\*.*?\*/)
      | (?P<directive>^[ \t]*\#(?:[^\n]*\\\n)*[^\n]*)
      | (?P<string>(?:u8|u|U|L)?"(?:\\.|[^"\\\n])*"|R"(?P<mark>[^(]*)\(.*?\)(?P=mark)")
      | (?P<char>'(?:\\.|[^'\\\n])+')
      | (?P<number>(?:0[xX][0-9a-fA-F']+|\d[\d']*(?:\.\d+)?(?:[eE][+-]?\d+)?)[uUlLfF]*)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<op><<=|>>=|<=>|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|::|.)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)

SWAPPED = {"==": "!=", "!=": "==", "<": ">=", ">": "<=", "<=": ">", ">=": "<"}
BOUNDARY = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
LOGICAL = {"&&": "||", "||": "&&"}
CLOSING = {"(": ")", "[": "]", "{": "}"}

# Words that start what is no expression statement: a declaration, a control statement, a value's return.
NOT_DROPPED = set(
    """using namespace struct class union enum template typedef typename static const constexpr auto bool int unsigned
    char double void return if for while do switch case default else throw try catch goto public private protected
    friend explicit virtual operator co_return""".split()
)
# Constructs in which a change would not compile or would say nothing about behaviour.
UNTOUCHED = {"static_assert", "noexcept", "requires", "decltype", "alignas"}


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    start: int

    @property
    def end(self):
        return self.start + len(self.text)


@dataclass(frozen=True)
class Mutant:
    kind: str
    start: int
    end: int
    replacement: str

    def apply(self, source):
        return source[: self.start] + self.replacement + source[self.end :]

    def line(self, source):
        return source.count("\n", 0, self.start) + 1

    def column(self, source):
        return self.start - (source.rfind("\n", 0, self.start) + 1) + 1

    def describe(self, source):
        old = " ".join(source[self.start : self.end].split())
        new = " ".join(self.replacement.split())
        if self.kind == "drop":
            return f"dropped `{old}`"
        return f"`{old}` -> `{new}`"


def tokenize(source):
    tokens = [Token(m.lastgroup if m.lastgroup != "mark" else "string", m.group(), m.start())
              for m in TOKEN.finditer(source)]
    return [t for t in tokens if t.kind not in ("space", "comment", "directive")]


def matching(tokens):
    """The index of the bracket that closes each opening one."""
    ends, open_ = {}, []
    for i, t in enumerate(tokens):
        if t.text in CLOSING and t.kind == "op":
            open_.append(i)
        elif t.kind == "op" and open_ and t.text == CLOSING[tokens[open_[-1]].text]:
            ends[open_.pop()] = i
    return ends


def untouched(tokens, ends):
    """The indices of tokens inside constructs that are left alone."""
    inside = set()
    for i, t in enumerate(tokens):
        if t.text in UNTOUCHED and i + 1 < len(tokens) and tokens[i + 1].text == "(":
            inside.update(range(i, ends[i + 1] + 1))
        if t.text == "requires":
            inside.update(range(i, min(i + 40, len(tokens))))
        if t.text == "[" and tokens[i + 1].text == "[":
            inside.update(range(i, ends[i] + 1))
        if t.text == "template":
            depth = 0
            for j in range(i + 1, len(tokens)):
                depth += {"<": 1, ">": -1, ">>": -2}.get(tokens[j].text, 0)
                inside.add(j)
                if depth == 0:
                    break
    return inside


def is_binary(source, t):
    return source[t.start - 1].isspace() and source[t.end].isspace()


def operators(source, tokens, skip):
    for i, t in enumerate(tokens):
        if t.kind != "op" or i in skip or not is_binary(source, t):
            continue
        for kind, table in (("compare", SWAPPED), ("boundary", BOUNDARY), ("logic", LOGICAL)):
            if t.text in table:
                yield Mutant(kind, t.start, t.end, table[t.text])


def constants(source, tokens, skip):
    for i, t in enumerate(tokens):
        if i in skip or tokens[i - 1].text == "case":
            continue
        if t.text in ("true", "false"):
            yield Mutant("constant", t.start, t.end, "false" if t.text == "true" else "true")
        if t.kind != "number" or source[t.end] == ">" or source[t.start - 1] == "<":
            continue
        digits = t.text.rstrip("uUlL").replace("'", "")
        suffix = t.text[len(t.text.rstrip("uUlL")):]
        if not re.fullmatch(r"\d+|0[xX][0-9a-fA-F]+", digits):
            continue
        value = int(digits, 0)
        for changed in (value + 1, value - 1):
            if changed >= 0:
                text = hex(changed) if digits[:2] in ("0x", "0X") else str(changed)
                yield Mutant("constant", t.start, t.end, text + suffix)


def negations(source, tokens, skip, ends):
    """The other branch: of `if`, of `while`, of a loop's and a choice's condition, and of what is negated already."""
    for i, t in enumerate(tokens):
        if i in skip:
            continue
        if t.text in ("if", "while") and tokens[i + 1].text == "(":
            yield from negated_condition(source, tokens, i + 1, ends)
        if t.text == "?":
            yield from negated_choice(source, tokens, i)
        # A `!` before an operand that is not compared further.
        if t.text == "!" and source[t.end] != "=":
            yield Mutant("branch", t.start, t.end, "")


def negated_condition(source, tokens, opening, ends):
    closing = ends[opening]
    first = opening + 1
    depth = 0
    for j in range(opening + 1, closing):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(tokens[j].text, 0)
        if tokens[j].text == ";" and depth == 0:
            first = j + 1
    words = tokens[first:closing]
    begin, end = words[0].start, words[-1].end
    text = source[begin:end]
    declared = None
    if words[0].text in ("auto", "const") or (len(words) > 2 and words[0].kind == words[1].kind == "word"):
        at = [k for k, w in enumerate(words) if w.text == "="]
        if at and words[at[0] - 1].kind == "word":
            declared = words[at[0] - 1].text
    if declared:
        if tokens[opening - 1].text == "if":
            yield Mutant("branch", begin, end, f"{text}; !{declared}")
    elif not is_mutated_whole(source, words):
        yield Mutant("branch", begin, end, f"!({text})")


def is_mutated_whole(source, words):
    """True for `!x` and `a == b`: what changes their operator negates the condition already."""
    if words[0].text == "!" and not any(w.text in LOGICAL or w.text in SWAPPED for w in words):
        return True
    depth, compared = 0, 0
    for w in words:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(w.text, 0)
        if depth == 0 and w.kind == "op" and is_binary(source, w):
            if w.text in LOGICAL or w.text == "?":
                return False
            compared += w.text in SWAPPED
    return compared == 1


def negated_choice(source, tokens, at):
    depth, j = 0, at - 1
    while j >= 0:
        text = tokens[j].text
        if text in ")]}":
            depth += 1
        elif text in "([{":
            if depth == 0:
                break
            depth -= 1
        elif depth == 0 and text in ("=", "+=", "return", ",", ";", "?", ":", "co_return"):
            break
        j -= 1
    words = tokens[j + 1 : at]
    if not is_mutated_whole(source, words):
        begin, end = words[0].start, words[-1].end
        yield Mutant("branch", begin, end, f"!({source[begin:end]})")


def statements(source, tokens, skip, ends):
    """Expression statements, without their effect."""
    enclosing = []
    for i, t in enumerate(tokens):
        if t.kind == "op" and t.text in CLOSING:
            enclosing.append(t.text)
        elif t.kind == "op" and t.text in CLOSING.values() and enclosing:
            enclosing.pop()
        if not enclosing or enclosing[-1] != "{" or i in skip:
            continue
        after = t.text in (";", "{", "}", "else", "do") or closes_header(tokens, i, ends) or closes_label(tokens, i)
        if not after or i + 1 >= len(tokens):
            continue
        last = end_of_statement(tokens, i + 1, ends)
        if last is not None and is_expression(source, tokens, i + 1, last):
            yield Mutant("drop", tokens[i + 1].start, tokens[last].start, "")


def closes_header(tokens, i, ends):
    if tokens[i].text != ")":
        return False
    opening = next((o for o, c in ends.items() if c == i), None)
    return opening is not None and tokens[opening - 1].text in ("if", "for", "while", "switch")


def closes_label(tokens, i):
    if tokens[i].text != ":":
        return False
    for j in range(i - 1, max(i - 8, -1), -1):
        if tokens[j].text in ("case", "default"):
            return True
        if tokens[j].text in (";", "{", "}", "?"):
            return False
    return False


def end_of_statement(tokens, first, ends):
    i = first
    while i < len(tokens):
        text = tokens[i].text
        if text == ";":
            return i
        if text in ")]}":
            return None
        i = ends[i] + 1 if text in CLOSING and tokens[i].kind == "op" and i in ends else i + 1
    return None


def is_expression(source, tokens, first, last):
    head = tokens[first]
    if first == last or head.text in NOT_DROPPED and not (head.text == "return" and last == first + 1):
        return False
    if head.kind != "word" and head.text not in ("++", "--", "*", "("):
        return False
    depth = 0
    for j in range(first, last):
        a, b = tokens[j], tokens[j + 1]
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(a.text, 0)
        if depth != 0 or b.kind != "word":
            continue
        if a.text in ("=", "+="):
            break
        touching = a.text in (">", "&", "*", "&&") and not source[a.start - 1].isspace() and source[a.end].isspace()
        if (a.kind == "word" and a.text not in ("co_await", "delete", "new")) or touching:
            return False  # `type name`
        if a.text == ":" and source[a.start - 1].isspace():
            return False  # a constructor's initialisers
    return True


def find(source):
    """All mutants of a source, in the order of the text."""
    tokens = tokenize(source)
    ends = matching(tokens)
    skip = untouched(tokens, ends)
    found = []
    found += operators(source, tokens, skip)
    found += constants(source, tokens, skip)
    found += negations(source, tokens, skip, ends)
    found += statements(source, tokens, skip, ends)
    return sorted(set(found), key=lambda m: (m.start, m.end, m.kind, m.replacement))
