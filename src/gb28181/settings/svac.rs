//! Encoding and decoding of SVAC, GB/T 25724 (2022, A.2.1.21 and A.2.1.22). Carried, never used here.

use crate::gb28181::manscdp::fields::record;

record! {
    pub struct SvacEncode {
        pub regions: Option<RegionsOfInterest> = group "ROIParam";
        pub layers: Option<EncodeLayers> = group "SVCParam";
        pub surveillance: Option<Surveillance> = group "SurveillanceParam";
        pub audio: Option<AudioParam> = group "AudioParam";
    }
}

record! {
    pub struct RegionsOfInterest {
        /// 0 off, 1 on.
        pub flag: Option<u32> = leaf "ROIFlag" [0..=1];
        pub items: Vec<RegionOfInterest> = many "Item" [16, "ROINumber"];
    }
}

record! {
    /// Corners are numbers of blocks of 32 by 32 pixels, counted in raster order.
    pub struct RegionOfInterest {
        pub seq: Option<u32> = leaf "ROISeq" [1..=16];
        pub top_left: Option<u32> = leaf "TopLeft";
        pub bottom_right: Option<u32> = leaf "BottomRight";
        /// 0 to 3, 3 is best.
        pub quality: Option<u32> = leaf "ROIQP" [0..=3];
    }
}

record! {
    /// Layers 0 (base) to 3. What is supported stands in answers alone.
    pub struct EncodeLayers {
        pub space_domain_mode: u32 = leaf "SVCSpaceDomainMode" [0..=3];
        pub time_domain_mode: u32 = leaf "SVCTimeDomainMode" [0..=3];
        pub ratio_value: Option<String> = leaf "SSVCRatioValue" [len 0..=64];
        pub space_support_mode: Option<u32> = leaf "SVCSpaceSupportMode" [0..=3];
        pub time_support_mode: Option<u32> = leaf "SVCTimeSupportMode" [0..=3];
        pub ratio_support_list: Option<String> = leaf "SSVCRatioSupportList" [len 0..=256];
    }
}

record! {
    /// 0 off, 1 on.
    pub struct Surveillance {
        pub time_flag: Option<u32> = leaf "TimeFlag" [0..=1];
        pub osd_flag: Option<u32> = leaf "OSDFlag" [0..=1];
        pub ai_flag: Option<u32> = leaf "AIFlag" [0..=1];
        pub gis_flag: Option<u32> = leaf "GISFlag" [0..=1];
    }
}

record! {
    pub struct AudioParam {
        pub recognition_flag: u32 = leaf "AudioRecognitionFlag" [0..=1];
    }
}

record! {
    pub struct SvacDecode {
        pub layers: Option<DecodeLayers> = group "SVCParam";
        pub surveillance: Option<DecodeSurveillance> = group "SurveillanceParam";
    }
}

record! {
    /// Layers 0 (base) to 3. What is supported stands in answers alone.
    pub struct DecodeLayers {
        pub mode: Option<u32> = leaf "SVCSTMMode" [0..=3];
        pub space_support_mode: Option<u32> = leaf "SVCSpaceSupportMode" [0..=3];
        pub time_support_mode: Option<u32> = leaf "SVCTimeSupportMode" [0..=3];
    }
}

record! {
    /// 0 off, 1 on.
    pub struct DecodeSurveillance {
        pub time_flag: Option<u32> = leaf "TimeShowFlag" [0..=1];
        pub osd_flag: Option<u32> = leaf "OSDShowFlag" [0..=1];
        pub ai_flag: Option<u32> = leaf "AIShowFlag" [0..=1];
        pub gis_flag: Option<u32> = leaf "GISShowFlag" [0..=1];
    }
}
