//! What the streams inside are made of: NAL units, parameter sets, AAC and G.711.
//!
//! A codec is a file here and an arm in [`crate::media::frame::Codec`].

pub mod aac;
pub mod annexb;
pub mod bits;
pub mod g711;
pub mod h264;
pub mod h265;
