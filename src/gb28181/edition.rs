//! The editions of GB/T 28181, and how each side says which it is: `X-GB-Ver` (2022, annex I). A device says so in
//! REGISTER, the platform in its answers to that, and in every request to a device that did.

/// An edition. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edition {
    Y2011,
    Y2016,
    Y2022,
}

impl Edition {
    /// From `X-GB-Ver`: "1.0" is 2011, "1.1" its amendment of 2014, "2.0" is 2016, "3.0" is 2022. Later ones count as
    /// the last that is known here.
    pub fn from_version(version: &str) -> Option<Edition> {
        let major: u32 = version.trim().split('.').next()?.parse().ok()?;
        match major {
            0 => None,
            1 => Some(Edition::Y2011),
            2 => Some(Edition::Y2016),
            3.. => Some(Edition::Y2022),
        }
    }

    /// As `X-GB-Ver` has it.
    pub fn version(self) -> &'static str {
        match self {
            Edition::Y2011 => "1.0",
            Edition::Y2016 => "2.0",
            Edition::Y2022 => "3.0",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Edition::Y2011 => "GB/T 28181-2011",
            Edition::Y2016 => "GB/T 28181-2016",
            Edition::Y2022 => "GB/T 28181-2022",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_name_editions() {
        for (version, edition) in [
            ("1.0", Some(Edition::Y2011)),
            ("1.1", Some(Edition::Y2011)),
            ("2.0", Some(Edition::Y2016)),
            (" 3.0 ", Some(Edition::Y2022)),
            ("4", Some(Edition::Y2022)),
            ("0.9", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(Edition::from_version(version), edition, "{version:?}");
        }
        assert!(Edition::Y2011 < Edition::Y2016 && Edition::Y2016 < Edition::Y2022);
    }
}
