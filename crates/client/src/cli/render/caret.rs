//! The place in an expression that an error is about.

/// Characters of a line that are shown; with the indent they fit a terminal of 80.
const WIDTH: usize = 76;

/// The line of a text that has the character `column`, counted from 1 over all lines, and a caret under it. Of a long line a part
/// is shown. One column behind the end is where something is missing.
pub fn mark(text: &str, column: u32) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = (column.saturating_sub(1) as usize).min(chars.len());
    let begin = chars[..at].iter().rposition(|&c| c == '\n').map_or(0, |newline| newline + 1);
    let end = chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |newline| at + newline);
    let (line, caret) = (&chars[begin..end], at - begin);
    let from = caret.saturating_sub(WIDTH / 2).min(line.len().saturating_sub(WIDTH));
    let to = line.len().min(from + WIDTH);
    let mut shown: Vec<char> = line[from..to].iter().map(|&c| if c.is_control() { ' ' } else { c }).collect();
    if from > 0 {
        shown[0] = '…';
    }
    if to < line.len() {
        shown[WIDTH - 1] = '…';
    }
    format!("  {}\n  {}^", shown.into_iter().collect::<String>(), " ".repeat(caret - from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The character above the caret, and how wide the line is.
    fn above(marked: &str) -> (Option<char>, usize) {
        let (line, caret) = marked.split_once('\n').unwrap();
        (line.chars().nth(caret.chars().count() - 1), line.chars().count())
    }

    #[test]
    fn the_caret_is_under_the_column() {
        assert_eq!(mark("sum(q)", 5), "  sum(q)\n      ^");
        assert_eq!(mark("größe + q", 9), "  größe + q\n          ^");
        assert_eq!(mark("x", 1), "  x\n  ^");
    }

    #[test]
    fn what_is_missing_at_the_end_is_behind_it() {
        assert_eq!(mark("x +", 4), "  x +\n     ^");
        assert_eq!(mark("", 1), "  \n  ^");
        assert_eq!(mark("x", 99), "  x\n   ^");
        assert_eq!(mark("x", 0), "  x\n  ^");
    }

    #[test]
    fn only_the_line_it_is_in_is_shown_and_it_does_nothing_to_the_terminal() {
        assert_eq!(mark("x +\n\tq +\n1", 6), "   q +\n   ^");
        assert_eq!(mark("x +\n1", 4), "  x +\n     ^");
        assert_eq!(mark("\x1b[31mx", 1), "   [31mx\n  ^");
    }

    #[test]
    fn of_a_long_line_the_part_around_it_is_shown() {
        let text: String = ('a'..='z').cycle().take(1000).collect();
        for column in [1, 2, 38, 39, 40, 76, 77, 500, 961, 962, 963, 999, 1000] {
            let marked = mark(&text, column);
            let expected = text.chars().nth(column as usize - 1);
            assert_eq!(above(&marked), (expected, WIDTH + 2), "{marked}");
        }
        let (begin, middle, end) = (mark(&text, 1), mark(&text, 500), mark(&text, 1001));
        assert!(begin.starts_with("  abc") && begin.contains("…\n"), "{begin}");
        assert!(middle.starts_with("  …") && middle.contains("…\n"), "{middle}");
        assert!(end.starts_with("  …") && above(&end).0.is_none(), "{end}");
    }
}
