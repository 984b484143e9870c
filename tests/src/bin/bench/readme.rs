//! Sections of the README that a subcommand writes.

use std::path::Path;

/// Where the section of a subcommand begins and ends.
fn begin(of: &str) -> String {
    format!("<!-- scripts/bench {of} writes this: begin -->\n")
}

const END: &str = "<!-- end -->\n";

/// Replaces the section of a subcommand.
pub fn write_section(readme: &Path, of: &str, section: &str) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", readme.display());
    let text = with_section(&std::fs::read_to_string(readme).map_err(failed)?, of, section)?;
    std::fs::write(readme, text).map_err(failed)
}

/// The text with that section replaced.
fn with_section(text: &str, of: &str, section: &str) -> Result<String, String> {
    let begin = begin(of);
    let missing = || format!("there is no section between {} and {}", begin.trim_end(), END.trim_end());
    let (before, rest) = text.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{begin}{section}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let (peers, memory) = (begin("peers"), begin("memory"));
        let text = format!("a\n{peers}old\n{END}b\n{memory}old\n{END}");
        let replaced = with_section(&text, "peers", "new\n").unwrap();
        assert_eq!(replaced, format!("a\n{peers}new\n{END}b\n{memory}old\n{END}"));
        assert_eq!(with_section(&replaced, "peers", "new\n").unwrap(), replaced);
        assert!(with_section(&format!("{END}{peers}"), "peers", "").is_err());
        assert!(with_section(&text, "floor", "").is_err());
    }
}
