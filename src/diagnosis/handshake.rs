//! Why a device did not get through the TLS door of SIP, in words (RFC 3261, 26.2.1; RFC 8446, 6.2).
//!
//! Such a device never gets as far as a REGISTER: it has no code and no record, only an address. So what went wrong is kept by
//! address and kind, to be looked up while somebody stands before the device and wonders.
//!
//! Bounds: [`SIP_TLS_FAILURES_KEPT_MAX`] lines, of which the one that was quiet for longest makes room.

use std::net::IpAddr;

use crate::limits::SIP_TLS_FAILURES_KEPT_MAX;

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What came was no TLS.
    NotTls,
    /// No certificate, where one is required.
    NoCertificate,
    /// A certificate that none of our authorities signed, or that is out of its time.
    WrongCertificate,
    /// The device does not take our certificate, or broke off with another alert.
    RefusedByPeer,
    /// No protocol version or cipher in common.
    NothingInCommon,
    /// Not done in time.
    TooSlow,
    /// The connection ended halfway.
    Gone,
    /// It broke the protocol.
    Broken,
    /// Refused before it began: too many at once.
    TooMany,
}

impl Failure {
    pub const ALL: [Failure; 9] = [
        Failure::NotTls,
        Failure::NoCertificate,
        Failure::WrongCertificate,
        Failure::RefusedByPeer,
        Failure::NothingInCommon,
        Failure::TooSlow,
        Failure::Gone,
        Failure::Broken,
        Failure::TooMany,
    ];

    /// Place in [`Failure::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// A stable name, for metrics and the API.
    pub fn name(self) -> &'static str {
        match self {
            Failure::NotTls => "not-tls",
            Failure::NoCertificate => "no-certificate",
            Failure::WrongCertificate => "wrong-certificate",
            Failure::RefusedByPeer => "refused-by-peer",
            Failure::NothingInCommon => "nothing-in-common",
            Failure::TooSlow => "too-slow",
            Failure::Gone => "gone",
            Failure::Broken => "broken",
            Failure::TooMany => "too-many",
        }
    }

    /// What is wrong and what to try, in English and Chinese.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Failure::NotTls => (
                "Something other than TLS came to the TLS port. Set the device to TLS, or let it use the port for UDP and TCP.",
                "发到 TLS 端口的不是 TLS。请将设备的传输方式设为 TLS，或改用 UDP/TCP 端口。",
            ),
            Failure::NoCertificate => (
                "The device showed no certificate, and this node requires one (sip.tls_client_ca). Install one in the device.",
                "设备没有出示证书，而本节点要求客户端证书（sip.tls_client_ca）。请在设备中安装证书。",
            ),
            Failure::WrongCertificate => (
                "The device's certificate is not signed by an authority in sip.tls_client_ca, or is out of its time. Compare both, and the clocks.",
                "设备证书不是由 sip.tls_client_ca 中的机构签发，或不在有效期内。请核对证书与时钟。",
            ),
            Failure::RefusedByPeer => (
                "The device broke off: most likely it does not trust this node's certificate. Install that in the device, or give this node one that it trusts (sip.tls_cert).",
                "设备中断了握手：很可能不信任本节点的证书。请在设备中导入该证书，或为本节点配置其信任的证书（sip.tls_cert）。",
            ),
            Failure::NothingInCommon => (
                "The device and this node have no TLS version or cipher in common; this node speaks TLS 1.2 and 1.3. Update the device, or let it use TCP.",
                "设备与本节点没有共同的 TLS 版本或加密套件；本节点支持 TLS 1.2 和 1.3。请升级设备，或改用 TCP。",
            ),
            Failure::TooSlow => (
                "The handshake was not done in time. The network loses packets, or something connects and says nothing.",
                "握手未在限定时间内完成：网络丢包，或对方连接后不发送数据。",
            ),
            Failure::Gone => (
                "The connection ended in the middle of the handshake.",
                "连接在握手过程中断开。",
            ),
            Failure::Broken => (
                "What came broke the TLS protocol.",
                "收到的数据违反 TLS 协议。",
            ),
            Failure::TooMany => (
                "Too many handshakes at once from this address or in all: it was refused before it began, and devices try again.",
                "同时进行的握手过多（该地址或总数），已拒绝；设备会自动重试。",
            ),
        }
    }
}

/// What went wrong with one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub address: IpAddr,
    pub failure: Failure,
    /// The TLS library's words of the last time, at most 200 bytes.
    pub detail: String,
    /// Unix milliseconds.
    pub first_ms: i64,
    pub last_ms: i64,
    pub times: u64,
}

/// The last failures, one line an address and kind.
#[derive(Clone, Debug, Default)]
pub struct Book {
    lines: Vec<Line>,
}

impl Book {
    /// Notes a failure. True if it is a new line, worth a line of the log.
    pub fn note(&mut self, now_ms: i64, address: IpAddr, failure: Failure, detail: &str) -> bool {
        let mut end = detail.len().min(200);
        while !detail.is_char_boundary(end) {
            end -= 1;
        }
        let detail = &detail[..end];
        let known = self
            .lines
            .iter_mut()
            .find(|l| l.address == address && l.failure == failure);
        if let Some(line) = known {
            line.times += 1;
            line.last_ms = now_ms;
            if line.detail != detail {
                line.detail = detail.to_owned();
            }
            return false;
        }
        if self.lines.len() >= SIP_TLS_FAILURES_KEPT_MAX {
            let quiet = self.lines.iter().enumerate().min_by_key(|(_, l)| l.last_ms);
            if let Some((at, _)) = quiet {
                self.lines.swap_remove(at);
            }
        }
        self.lines.push(Line {
            address,
            failure,
            detail: detail.to_owned(),
            first_ms: now_ms,
            last_ms: now_ms,
            times: 1,
        });
        true
    }

    /// The newest first.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = self.lines.clone();
        lines.sort_by_key(|l| std::cmp::Reverse(l.last_ms));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_for_all_of_an_address_and_kind_and_the_quiet_make_room() {
        let mut book = Book::default();
        let ip = |n: usize| IpAddr::from([10, 0, (n >> 8) as u8, n as u8]);
        assert!(book.note(5, ip(0), Failure::NotTls, "a"));
        assert!(!book.note(6, ip(0), Failure::NotTls, "b"));
        assert!(book.note(7, ip(0), Failure::Gone, &"é".repeat(150)));
        let lines = book.lines();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            (lines[1].times, lines[1].first_ms, lines[1].last_ms),
            (2, 5, 6)
        );
        assert_eq!(
            (lines[1].detail.as_str(), lines[0].detail.len()),
            ("b", 200)
        );
        for n in 1..=SIP_TLS_FAILURES_KEPT_MAX - 2 {
            book.note(10, ip(n), Failure::Gone, "");
        }
        assert_eq!(book.lines().len(), SIP_TLS_FAILURES_KEPT_MAX);
        book.note(11, ip(9999), Failure::Gone, "");
        assert_eq!(book.lines().len(), SIP_TLS_FAILURES_KEPT_MAX);
        assert!(!book.lines().iter().any(|l| l.failure == Failure::NotTls));
    }

    #[test]
    fn every_failure_has_a_place_a_name_and_words_in_both_languages() {
        for (n, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure.index(), n);
            let (en, zh) = failure.words();
            assert!(en.is_ascii() && !zh.is_ascii());
        }
    }
}
