//! What the streams inside are made of: NAL units, parameter sets, AAC, G.711, G.722 and G.726.
//!
//! A codec is a file here and an arm in [`crate::media::frame::Codec`].

pub mod aac;
pub mod annexb;
pub mod bits;
pub mod g711;
pub mod g722;
pub mod g726;
pub mod h264;
pub mod h265;
