//! Words and signs that people bring from other languages.

/// Words and signs of other languages, and what rules write instead.
const ELSEWHERE: [(&str, &str); 56] = [
    ("!.", "write `.`: what is absent is `()`, and so is anything below it"),
    ("!==", "write `!=`"),
    ("#", "a comment begins with `//`, a map with `#{`"),
    ("# {", "write `#{` without a space"),
    ("$", "a value inside a text in backticks is written `${value}`"),
    ("&&=", "write `x = x && y`"),
    ("++", "write `x += 1`"),
    ("--", "write `x -= 1`"),
    ("->", "a function's result has no type: leave it out"),
    ("...", "a range is written `0..10`, or `0..=10`"),
    ("::<", "types are not written: leave them out"),
    (":=", "write `=`, and `let` before a new variable"),
    (":;", "write `::`"),
    ("<-", "write `=`, or `<=` for \"at most\""),
    ("===", "write `==`"),
    ("=>", "a closure is written `|x| …`"),
    ("?", "a choice is written `if a { b } else { c }`, a default `a ?? b` or `or(a, b)`"),
    ("@", "leave it out"),
    ("and", "write `&&`"),
    ("async", "a rule waits for nothing: leave it out"),
    ("await", "a rule waits for nothing: leave it out"),
    ("case", "the cases of a `switch` are written `value => …,`"),
    ("class", "rules have no classes: use a map, `#{ name: value }`"),
    ("def", "write `fn`"),
    ("default", "the last case of a `switch` is written `_ => …`"),
    ("del", "write `map.remove(\"name\")`"),
    ("elif", "write `else if`"),
    ("elseif", "write `else if`"),
    ("elsif", "write `else if`"),
    ("end", "a block ends with `}`"),
    ("except", "write `catch`"),
    ("finally", "what stands behind `try { … } catch { … }` runs in any case"),
    ("foreach", "write `for item in list { … }`"),
    ("func", "write `fn`"),
    ("function", "write `fn`"),
    ("is", "write `==`"),
    ("lambda", "a closure is written `|x| …`"),
    (
        "match",
        "write `switch value { 1 => …, _ => … }`; patterns are compared with `matches(text, pattern)`",
    ),
    ("new", "leave it out"),
    ("nil", "write `()` for what is absent"),
    ("not", "write `!`"),
    ("null", "write `()` for what is absent"),
    ("of", "write `for item in list { … }`"),
    ("or", "write `||`"),
    ("print", "write `print(text)`"),
    ("static", "write `const`"),
    ("then", "write `if condition { … } else { … }`"),
    ("undefined", "write `()` for what is absent"),
    ("unless", "write `if !(…) { … }`"),
    ("use", "a file `lib/names.rhai` is the module `names` in every script: leave it out"),
    ("var", "write `let`"),
    ("void", "write `()` for what is absent"),
    ("with", "write it out: what is meant is not looked up"),
    ("|>", "write the call: `f(value)`"),
    ("||=", "write `x = x || y`"),
    ("yield", "a function has one result: leave it out"),
];

/// Words that are foreign wherever they stand on the line of an error.
pub(super) const NEVER_OURS: [&str; 6] =
    ["elif", "elseif", "elsif", "foreach", "function", "unless"];

/// What to write instead of a word or sign of another language.
pub(super) fn elsewhere(word: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(known, _)| *known == word).map(|(_, help)| *help)
}
