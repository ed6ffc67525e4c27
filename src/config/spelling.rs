//! The word that was probably meant.
//!
//! Knows words and how far they are apart: one letter too many, too few, wrong, or two neighbours swapped, count one
//! each; upper and lower case are the same. It does not know what the words are for.

/// The candidate nearest to `word`, if one is near enough to be what was meant. The first of equals wins.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters: Vec<char> = word.chars().take(LETTERS_MAX).collect();
    let far = match letters.len() {
        0..=3 => 1,
        count => (count / 3).max(2),
    };
    candidates
        .map(|candidate| (distance(&letters, candidate), candidate))
        .filter(|(steps, _)| *steps <= far)
        .min_by_key(|(steps, _)| *steps)
        .map(|(_, candidate)| candidate)
}

/// Steps between two words: three rows of the usual table, as a swap looks two rows back.
fn distance(word: &[char], candidate: &str) -> usize {
    let other: Vec<char> = candidate.chars().collect();
    let same = |a: char, b: char| a.eq_ignore_ascii_case(&b);
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for row in 0..word.len() {
        let mut current = vec![row + 1];
        for column in 0..other.len() {
            let change = last[column] + usize::from(!same(word[row], other[column]));
            let mut steps = change.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped =
                row > 0 && column > 0 && same(word[row], other[column - 1]) && same(word[row - 1], other[column]);
            if swapped {
                steps = steps.min(before_last[column - 1] + 1);
            }
            current.push(steps);
        }
        before_last = last;
        last = current;
    }
    last[other.len()]
}

/// Longer words are cut: nothing that we know is nearly as long.
const LETTERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 5] = ["host", "port", "poolSize", "tcpConnections", "localReadTimeout"];

    fn near(word: &str) -> Option<&'static str> {
        nearest(word, WORDS.into_iter())
    }

    #[test]
    fn one_slip_finds_the_word() {
        assert_eq!(near("prot"), Some("port"), "two letters swapped");
        assert_eq!(near("poolSiz"), Some("poolSize"), "a letter missing");
        assert_eq!(near("pooolSize"), Some("poolSize"), "a letter too many");
        assert_eq!(near("POOLSIZE"), Some("poolSize"), "another case");
        assert_eq!(near("tcp_connections"), Some("tcpConnections"), "another style");
        assert_eq!(near("local-read-timeout"), Some("localReadTimeout"));
    }

    #[test]
    fn a_stranger_finds_nothing() {
        for word in ["", "p", "password", "zzzz", &"x".repeat(10_000)] {
            assert_eq!(near(word), None, "{word:.20}");
        }
    }

    #[test]
    fn distances_are_symmetric_and_zero_only_for_the_same_word() {
        for a in WORDS {
            for b in WORDS {
                let letters = |word: &str| word.chars().collect::<Vec<char>>();
                assert_eq!(distance(&letters(a), b), distance(&letters(b), a));
                assert_eq!(distance(&letters(a), b) == 0, a == b);
            }
        }
    }
}
