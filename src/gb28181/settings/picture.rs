//! What is drawn on a picture and how it stands: masks (2022, A.2.1.17), mirror (A.2.1.23), characters (A.2.1.12).

use std::fmt::Write;

use crate::gb28181::manscdp::fields::{BadField, Flaw, Group, record};
use crate::gb28181::manscdp::tree::Element;

record! {
    /// Hides parts of the picture.
    pub struct PictureMask {
        /// 0 off, 1 on.
        pub on: u32 = leaf "On" [0..=1];
        pub regions: Vec<Region> = list "RegionList" ["Item", 4, "SumNum"];
    }
}

record! {
    pub struct Region {
        pub seq: u32 = leaf "Seq" [1..=4];
        /// Corners in pixels, `left,top,right,bottom`.
        pub point: String = leaf "Point" [len 7..=64];
    }
}

record! {
    /// Characters on the picture. Places are pixels of a picture of `length` by `width`.
    pub struct OsdConfig {
        pub length: u32 = leaf "Length" [1..=65_535];
        pub width: u32 = leaf "Width" [1..=65_535];
        pub time_x: u32 = leaf "TimeX" [0..=65_535];
        pub time_y: u32 = leaf "TimeY" [0..=65_535];
        /// 0 off, 1 on.
        pub time_enable: Option<u32> = leaf "TimeEnable" [0..=1];
        /// 0 `YYYY-MM-DD HH:MM:SS`, 1 with the Chinese words for year, month and day.
        pub time_type: Option<u32> = leaf "TimeType" [0..=1];
        pub text_enable: Option<u32> = leaf "TextEnable" [0..=1];
        pub texts: Vec<OsdText> = many "Item" [16, "SumNum"];
    }
}

record! {
    pub struct OsdText {
        pub text: String = leaf "Text" [len 0..=32];
        pub x: u32 = leaf "X" [0..=65_535];
        pub y: u32 = leaf "Y" [0..=65_535];
    }
}

/// 0 none, 1 left and right, 2 up and down, 3 both. The one type that is a number and no record.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "node",
    derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)
)]
#[cfg_attr(feature = "node", serde(rename_all = "camelCase", deny_unknown_fields))]
pub struct Mirror {
    pub mode: u32,
}

impl Group for Mirror {
    fn write(&self, name: &str, out: &mut String) {
        _ = write!(out, "<{name}>{}</{name}>\r\n", self.mode);
    }

    fn read(parent: &Element, name: &str) -> Result<Mirror, BadField> {
        let bad = |flaw| BadField {
            field: "mode",
            flaw,
        };
        let text = parent.value(name).ok_or(bad(Flaw::Missing))?;
        let mode = text.parse().map_err(|_| bad(Flaw::Unreadable))?;
        Ok(Mirror { mode })
    }

    fn check(&self) -> Result<(), BadField> {
        if self.mode > 3 {
            return Err(BadField {
                field: "mode",
                flaw: Flaw::Outside { min: 0, max: 3 },
            });
        }
        Ok(())
    }
}
