//! X.509 with SM2 keys and SM2-SM3 signatures (GM/T 0015, RFC 5280, RFC 2986): certificates, requests, revocation lists.
//!
//! Read with the types of `x509-cert`; written here, because its builders know no signature of the OID 1.2.156.10197.1.501.
//! Names hold one common name, the 20-digit code. Not done: chains longer than one authority, extensions other than basic
//! constraints and key usage, name constraints.
//!
//! Bounds: [`GM_CERTIFICATE_BYTES_MAX`] for anything that is read.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use der::asn1::BitString;
use der::{DateTime, Decode, Encode};
use x509_cert::Certificate as Parsed;
use x509_cert::crl::CertificateList;
use x509_cert::name::Name;
use x509_cert::request::CertReq;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::key::{Key, verify};
use crate::limits::GM_CERTIFICATE_BYTES_MAX;

/// 1.2.156.10197.1.501, signature by SM2 with SM3; no parameters.
const SM2_WITH_SM3: &[u8] = &[
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x75,
];
/// ecPublicKey on the curve 1.2.156.10197.1.301.
const SM2_KEY: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x81, 0x1c,
    0xcf, 0x55, 0x01, 0x82, 0x2d,
];
const SM2_KEY_OID: &str = "1.2.156.10197.1.301";
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const COMMON_NAME_OID: &str = "2.5.4.3";
const CA_EXTENSIONS: &[&[u8]] = &[
    // basicConstraints, critical: an authority; keyUsage, critical: signatures, of certificates and lists too.
    &[
        0x30, 0x0f, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x05, 0x30, 0x03, 0x01,
        0x01, 0xff,
    ],
    &[
        0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x01,
        0x86,
    ],
];
/// basicConstraints: none; keyUsage: signatures and the sealing of keys.
const DEVICE_EXTENSIONS: &[&[u8]] = &[
    &[
        0x30, 0x09, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x04, 0x02, 0x30, 0x00,
    ],
    &[
        0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x04,
        0xb0,
    ],
];

/// Why something is no certificate, request or list that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    TooLong,
    /// Neither PEM nor DER of the kind that was asked for.
    Malformed,
    /// Its key is no SM2 key.
    OtherKey,
    /// Its signature is not by the key that it names.
    WrongSignature,
    /// It names nobody.
    NoName,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Error::TooLong => "too long",
            Error::Malformed => "neither PEM nor DER of such a thing",
            Error::OtherKey => "its key is not an SM2 key",
            Error::WrongSignature => "its signature is wrong",
            Error::NoName => "it has no common name",
        })
    }
}

impl std::error::Error for Error {}

/// A certificate that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub der: Vec<u8>,
    /// Common names.
    pub subject: String,
    pub issuer: String,
    /// Lower-case hex.
    pub serial: String,
    pub not_before_unix_s: i64,
    pub not_after_unix_s: i64,
    /// 04, X, Y.
    pub public: Vec<u8>,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Certificate {
    /// Takes PEM or DER. Its signature is not looked at: see [`Certificate::is_signed_by`].
    pub fn read(bytes: &[u8]) -> Result<Certificate, Error> {
        let der = unwrap(bytes, "CERTIFICATE")?;
        let parsed = Parsed::from_der(&der).map_err(|_| Error::Malformed)?;
        let tbs = parsed.tbs_certificate();
        let unix_s = |time: x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
        };
        Ok(Certificate {
            subject: common_name(tbs.subject()).ok_or(Error::NoName)?,
            issuer: common_name(tbs.issuer()).unwrap_or_default(),
            serial: serial(tbs.serial_number().as_bytes()),
            not_before_unix_s: unix_s(tbs.validity().not_before),
            not_after_unix_s: unix_s(tbs.validity().not_after),
            public: public_of(tbs.subject_public_key_info())?,
            signed: tbs.to_der().map_err(|_| Error::Malformed)?,
            signature: bits(parsed.signature())?,
            der,
        })
    }

    pub fn is_signed_by(&self, public: &[u8]) -> bool {
        verify(public, &self.signed, &self.signature)
    }

    pub fn is_current(&self, unix_s: i64) -> bool {
        (self.not_before_unix_s..=self.not_after_unix_s).contains(&unix_s)
    }

    pub fn pem(&self) -> String {
        wrap(&self.der, "CERTIFICATE")
    }
}

/// A request for a certificate (PKCS #10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    pub der: Vec<u8>,
    pub subject: String,
    pub public: Vec<u8>,
}

impl CertificateRequest {
    /// Takes PEM or DER; the signature must be by the key in it, which shows that the asker has it.
    pub fn read(bytes: &[u8]) -> Result<CertificateRequest, Error> {
        let der = unwrap(bytes, "CERTIFICATE REQUEST")?;
        let parsed = CertReq::from_der(&der).map_err(|_| Error::Malformed)?;
        let public = public_of(&parsed.info.public_key)?;
        let signed = parsed.info.to_der().map_err(|_| Error::Malformed)?;
        if !verify(&public, &signed, &bits(&parsed.signature)?) {
            return Err(Error::WrongSignature);
        }
        let subject = common_name(&parsed.info.subject).ok_or(Error::NoName)?;
        Ok(CertificateRequest {
            der,
            subject,
            public,
        })
    }

    pub fn make(key: &Key, subject: &str) -> CertificateRequest {
        let mut info = vec![2, 1, 0];
        info.extend(name(subject));
        info.extend(key_info(&key.public()));
        info.extend(tlv(0xa0, &[]));
        let der = sign(key, &tlv(0x30, &info));
        CertificateRequest {
            der,
            subject: subject.to_owned(),
            public: key.public(),
        }
    }

    pub fn pem(&self) -> String {
        wrap(&self.der, "CERTIFICATE REQUEST")
    }
}

/// What a certificate is to say.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    /// At most 19 random bytes.
    pub serial: &'a [u8],
    pub subject: &'a str,
    pub issuer: &'a str,
    pub from_unix_s: i64,
    pub until_unix_s: i64,
    /// Whether it may sign others.
    pub authority: bool,
}

/// Issues a certificate for a public key.
pub fn issue(terms: &Terms<'_>, public: &[u8], by: &Key) -> Result<Certificate, Error> {
    let mut tbs = vec![0xa0, 3, 2, 1, 2];
    tbs.extend(integer(terms.serial));
    tbs.extend_from_slice(SM2_WITH_SM3);
    tbs.extend(name(terms.issuer));
    tbs.extend(tlv(
        0x30,
        &[time(terms.from_unix_s), time(terms.until_unix_s)].concat(),
    ));
    tbs.extend(name(terms.subject));
    tbs.extend(key_info(public));
    let extensions = if terms.authority {
        CA_EXTENSIONS
    } else {
        DEVICE_EXTENSIONS
    };
    tbs.extend(tlv(0xa3, &tlv(0x30, &extensions.concat())));
    Certificate::read(&sign(by, &tlv(0x30, &tbs)))
}

/// A revocation list in PEM. `revoked`: serial in hex, and when.
pub fn revocation_list(
    by: &Key,
    issuer: &str,
    now_unix_s: i64,
    number: u64,
    revoked: &[(String, i64)],
) -> String {
    const DAYS: i64 = 30;
    let mut tbs = vec![2, 1, 1];
    tbs.extend_from_slice(SM2_WITH_SM3);
    tbs.extend(name(issuer));
    tbs.extend(time(now_unix_s));
    tbs.extend(time(now_unix_s + DAYS * 86_400));
    let mut entries = Vec::new();
    for (serial, at) in revoked {
        entries.extend(tlv(0x30, &[integer(&unhex(serial)), time(*at)].concat()));
    }
    if !entries.is_empty() {
        tbs.extend(tlv(0x30, &entries));
    }
    // cRLNumber
    let number = tlv(4, &integer(&number.to_be_bytes()));
    let extension = tlv(0x30, &[&[6, 3, 0x55, 0x1d, 0x14][..], &number].concat());
    tbs.extend(tlv(0xa0, &tlv(0x30, &extension)));
    wrap(&sign(by, &tlv(0x30, &tbs)), "X509 CRL")
}

/// The serials, in hex, that a list revokes, if it is signed by this key.
pub fn read_revocation_list(bytes: &[u8], public: &[u8]) -> Result<Vec<String>, Error> {
    let der = unwrap(bytes, "X509 CRL")?;
    let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(&der)
        .map_err(|_| Error::Malformed)?;
    let signed = list.tbs_cert_list.to_der().map_err(|_| Error::Malformed)?;
    if !verify(public, &signed, &bits(&list.signature)?) {
        return Err(Error::WrongSignature);
    }
    let revoked = list.tbs_cert_list.revoked_certificates.unwrap_or_default();
    Ok(revoked
        .iter()
        .map(|r| serial(r.serial_number.as_bytes()))
        .collect())
}

fn common_name(name: &Name) -> Option<String> {
    let mut attributes = name.iter_rdn().flat_map(|rdn| rdn.iter());
    let found = attributes.find(|a| a.oid.to_string() == COMMON_NAME_OID)?;
    let text = std::str::from_utf8(found.value.value()).ok()?.trim();
    let plain = !text.is_empty() && text.len() <= 128 && !text.chars().any(char::is_control);
    plain.then(|| text.to_owned())
}

fn public_of(info: &SubjectPublicKeyInfoOwned) -> Result<Vec<u8>, Error> {
    let curve = info.algorithm.parameters.as_ref();
    let curve = curve.and_then(|any| any.decode_as::<der::asn1::ObjectIdentifier>().ok());
    if curve.is_none_or(|oid| oid.to_string() != SM2_KEY_OID) {
        return Err(Error::OtherKey);
    }
    let public = bits(&info.subject_public_key)?;
    sm2::PublicKey::from_sec1_bytes(&public).map_err(|_| Error::OtherKey)?;
    Ok(public)
}

fn bits(bits: &BitString) -> Result<Vec<u8>, Error> {
    bits.as_bytes().map(<[u8]>::to_vec).ok_or(Error::Malformed)
}

/// DER out of PEM, or DER as it is.
fn unwrap(bytes: &[u8], label: &str) -> Result<Vec<u8>, Error> {
    if bytes.len() > GM_CERTIFICATE_BYTES_MAX {
        return Err(Error::TooLong);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(bytes.to_vec());
    };
    let begin = format!("-----BEGIN {label}-----");
    let (Some(from), Some(to)) = (text.find(&begin), text.find("-----END ")) else {
        return Ok(bytes.to_vec());
    };
    let inside = text.get(from + begin.len()..to).ok_or(Error::Malformed)?;
    let inside: String = inside.split_ascii_whitespace().collect();
    Base64::decode_vec(&inside).map_err(|_| Error::Malformed)
}

fn wrap(der: &[u8], label: &str) -> String {
    let text = Base64::encode_string(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// What was signed, how, and the signature.
fn sign(key: &Key, tbs: &[u8]) -> Vec<u8> {
    let mut signature = vec![0];
    signature.extend(key.sign(tbs));
    tlv(0x30, &[tbs, SM2_WITH_SM3, &tlv(3, &signature)].concat())
}

fn key_info(public: &[u8]) -> Vec<u8> {
    let bits = [&[0], public].concat();
    tlv(0x30, &[SM2_KEY, &tlv(3, &bits)].concat())
}

fn name(common_name: &str) -> Vec<u8> {
    let value = tlv(0x0c, common_name.as_bytes());
    tlv(
        0x30,
        &tlv(0x31, &tlv(0x30, &[COMMON_NAME, &value].concat())),
    )
}

/// Not negative, in the fewest bytes.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let bytes = &bytes[zeros.min(bytes.len().saturating_sub(1))..];
    let mut value = Vec::with_capacity(bytes.len() + 1);
    if bytes.first().is_none_or(|b| b & 0x80 != 0) {
        value.push(0);
    }
    value.extend_from_slice(bytes);
    tlv(2, &value)
}

/// UTCTime until 2049, GeneralizedTime after it (RFC 5280, 4.1.2.5); outside 1970 to 9999 the nearest end.
fn time(unix_s: i64) -> Vec<u8> {
    const LAST: u64 = 253_402_300_799;
    let seconds = u64::try_from(unix_s).unwrap_or(0).min(LAST);
    let t = DateTime::from_unix_duration(Duration::from_secs(seconds))
        .expect("it lies between 1970 and 9999");
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        t.month(),
        t.day(),
        t.hour(),
        t.minutes(),
        t.seconds()
    );
    if t.year() < 2050 {
        tlv(0x17, format!("{:02}{rest}", t.year() % 100).as_bytes())
    } else {
        tlv(0x18, format!("{:04}{rest}", t.year()).as_bytes())
    }
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match value.len() {
        n @ 0..0x80 => out.push(n as u8),
        n => {
            let length = n.to_be_bytes();
            let zeros = length.iter().take_while(|b| **b == 0).count();
            out.push(0x80 | (length.len() - zeros) as u8);
            out.extend_from_slice(&length[zeros..]);
        }
    }
    out.extend_from_slice(value);
    out
}

/// In hex, without the zero that only keeps it from being negative.
fn serial(bytes: &[u8]) -> String {
    let bytes = match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16).map(|d| d as u8))
        .collect();
    digits
        .chunks(2)
        .map(|p| p.iter().fold(0, |n, d| (n << 4) | d))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha12Rng;
    use rand_chacha::rand_core::SeedableRng;

    const NOW: i64 = 1_790_000_000;

    pub fn authority(key: &Key) -> Certificate {
        let terms = Terms {
            serial: &[1],
            subject: "34020000002000000001",
            issuer: "34020000002000000001",
            from_unix_s: NOW,
            until_unix_s: NOW + 86_400,
            authority: true,
        };
        issue(&terms, &key.public(), key).expect("what we write we read")
    }

    #[test]
    fn a_request_becomes_a_certificate_that_its_authority_signed() {
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        let (ca, device) = (Key::new(&mut rng), Key::new(&mut rng));
        let root = authority(&ca);
        assert!(root.is_signed_by(&ca.public()));
        let request = CertificateRequest::make(&device, "34020000001320000001");
        let request = CertificateRequest::read(request.pem().as_bytes()).expect("a request");
        let terms = Terms {
            serial: &[0x80, 2, 3],
            subject: &request.subject,
            issuer: &root.subject,
            from_unix_s: NOW,
            until_unix_s: NOW + 3_000_000_000,
            authority: false,
        };
        let issued = issue(&terms, &request.public, &ca).expect("issued");
        let read = Certificate::read(issued.pem().as_bytes()).expect("PEM");
        assert_eq!(read, issued);
        assert!(read.is_signed_by(&root.public) && !read.is_signed_by(&device.public()));
        assert_eq!(read.serial, "800203");
        assert_eq!(read.not_after_unix_s, NOW + 3_000_000_000);
        assert!(read.is_current(NOW) && !read.is_current(NOW - 1));
        let list = revocation_list(&ca, &root.subject, NOW, 1, &[(read.serial.clone(), NOW)]);
        assert_eq!(
            read_revocation_list(list.as_bytes(), &root.public),
            Ok(vec![read.serial])
        );
        let other = read_revocation_list(list.as_bytes(), &device.public());
        assert_eq!(other, Err(Error::WrongSignature));
        assert_eq!(
            read_revocation_list(
                revocation_list(&ca, "x", NOW, 2, &[]).as_bytes(),
                &root.public
            ),
            Ok(Vec::new())
        );
    }

    #[test]
    fn what_is_damaged_too_long_or_of_another_is_refused() {
        let mut rng = ChaCha12Rng::from_seed([2; 32]);
        let key = Key::new(&mut rng);
        let mut der = CertificateRequest::make(&key, "a").der;
        let last = der.len() - 1;
        der[last] ^= 1;
        assert_eq!(CertificateRequest::read(&der), Err(Error::WrongSignature));
        assert_eq!(Certificate::read(&der), Err(Error::Malformed));
        assert_eq!(Certificate::read(b""), Err(Error::Malformed));
        assert_eq!(
            Certificate::read(&vec![0; GM_CERTIFICATE_BYTES_MAX]),
            Err(Error::Malformed)
        );
        assert_eq!(
            Certificate::read(&vec![0; GM_CERTIFICATE_BYTES_MAX + 1]),
            Err(Error::TooLong)
        );
    }

    #[test]
    fn openssl_takes_what_we_write() {
        use std::io::Write;
        use std::process::{Command, Stdio};
        let mut rng = ChaCha12Rng::from_seed([3; 32]);
        let (ca, device) = (Key::new(&mut rng), Key::new(&mut rng));
        let root = authority(&ca);
        let request = CertificateRequest::make(&device, "34020000001320000001");
        let list = revocation_list(&ca, &root.subject, NOW, 7, &[("0a".into(), NOW)]);
        for (arguments, input, says) in [
            (&["x509", "-noout", "-text"][..], root.pem(), "SM2-with-SM3"),
            (
                &[
                    "req",
                    "-noout",
                    "-text",
                    "-verify",
                    "-vfyopt",
                    "distid:1234567812345678",
                ],
                request.pem(),
                "34020000001320000001",
            ),
            (&["crl", "-noout", "-text"], list, "Serial Number: 0A"),
        ] {
            let child = Command::new("openssl")
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            let Ok(mut child) = child else {
                return eprintln!("skipped: no openssl");
            };
            let mut stdin = child.stdin.take().expect("piped");
            stdin.write_all(input.as_bytes()).expect("taken");
            drop(stdin);
            let output = child.wait_with_output().expect("it ends");
            let text = String::from_utf8_lossy(&output.stdout);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && text.contains(says),
                "{arguments:?}: {text} {error}"
            );
        }
    }
}
