//! Characters that are there and cannot be seen. Whoever reads a text does not know of them: they hide words, or turn them around.

/// Whether nothing is drawn for this character, or it only changes how others are drawn: control characters, and of Unicode's
/// `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt, Unicode 16) all blocks: joiners, directions of writing, variation
/// selectors, tags, fillers. White space is not among them, but for the tab and the ends of lines, which are control characters.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::is_unseen;

    #[test]
    fn what_is_drawn_is_seen_and_what_only_changes_it_is_not() {
        let unseen =
            "\0\u{1b}\u{7f}\u{9b}\n\u{ad}\u{200b}\u{200d}\u{202e}\u{2066}\u{feff}\u{fe0f}\u{e0041}";
        assert!(unseen.chars().all(is_unseen));
        assert!(!"aZ 0é\u{a0}中א🙂<\u{ff1c}\u{2028}".chars().any(is_unseen));
    }
}
