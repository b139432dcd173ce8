//! Durations, byte sizes and rates as people write them in definitions and settings: `30m`, `64KiB`, `10/s`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct UnitError {
    text: String,
    expected: &'static str,
}

fn split(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A duration: a whole number and `ms`, `s`, `m`, `h` or `d`, several of them largest first or not (`1h30m`), at most 10 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);
        let wrong = || UnitError {
            text: text.into(),
            expected: "a duration, such as 500ms, 30s, 5m, 4h or 1h30m",
        };
        let mut rest = text.trim();
        let mut sum = Duration::ZERO;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let (digits, tail) = split(rest);
            let amount: u64 = digits.parse().map_err(|_| wrong())?;
            let unit_end = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, next) = tail.split_at(unit_end);
            let millis = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(wrong()),
            };
            sum = sum.saturating_add(Duration::from_millis(amount.saturating_mul(millis)));
            rest = next;
        }
        if sum <= LONGEST {
            Ok(Self(sum))
        } else {
            Err(wrong())
        }
    }
}

impl TryFrom<String> for Span {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        let mut left = millis;
        for (size, unit) in [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
            (1, "ms"),
        ] {
            if left >= size {
                text += &format!("{}{unit}", left / size);
                left %= size;
            }
        }
        f.pad(&text)
    }
}

/// A size in bytes: a whole number and nothing, `B`, `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ByteSize(pub usize);

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError {
            text: text.into(),
            expected: "a size, such as 500B, 64KiB or 1MiB",
        };
        let (digits, unit) = split(text.trim());
        let amount: usize = digits.parse().map_err(|_| wrong())?;
        let factor = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wrong()),
        };
        amount.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for ByteSize {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}

/// A rate: so many in a second, minute or hour (`10/s`, `100/m`, `5/h`); at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate {
    /// How many.
    pub count: std::num::NonZeroU32,
    /// In how long.
    pub per: Duration,
}

impl FromStr for Rate {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError {
            text: text.into(),
            expected: "a rate, such as 10/s, 100/m or 5/h",
        };
        let (count, unit) = text.trim().split_once('/').ok_or_else(wrong)?;
        let per = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return Err(wrong()),
        };
        Ok(Self {
            count: count.parse().map_err(|_| wrong())?,
            per: Duration::from_secs(per),
        })
    }
}

impl TryFrom<String> for Rate {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        assert_eq!("1h30m".parse(), Ok(Span(Duration::from_secs(5_400))));
        assert_eq!("500ms".parse(), Ok(Span(Duration::from_millis(500))));
        assert_eq!("64KiB".parse(), Ok(ByteSize(65_536)));
        assert_eq!(
            "100/m".parse::<Rate>().map(|r| (r.count.get(), r.per)),
            Ok((100, Duration::from_secs(60)))
        );
        assert_eq!(Span(Duration::from_secs(5_400)).to_string(), "1h30m");
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for bad in ["", "5", "5 minutes", "-1s", "1.5h", "99999999999d", "s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        assert!("0/s".parse::<Rate>().is_err());
        let shown = "10MB".parse::<ByteSize>().map_err(|e| e.to_string());
        assert_eq!(
            shown,
            Err("`10MB` is not a size, such as 500B, 64KiB or 1MiB".to_owned())
        );
    }
}
