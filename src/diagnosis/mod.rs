//! Why a picture does or does not come: what is known of a session, a device or a recording, brought into words.
//!
//! Pure: facts come in, text, numbers and files go out. [`message`] shows SIP without its secrets, [`pcap`] writes it for
//! other tools.

pub mod message;
pub mod pcap;
