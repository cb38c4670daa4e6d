//! `/pu/config/server`: how a device stays registered, in the words of bvcsp 2.28 beside those of BasicParam (2022, A.2.1.19).
//!
//! The standard has no way to tell a device to which server it shall register. `register` of an answer holds where it is
//! registered, which this node knows as it is the server; a request may repeat that, and is refused (8) if it says otherwise.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Failure, Settings, Setup};
use crate::api::words::{Lack, either, fixed, lacking};
use crate::gb28181::settings::{BasicParam, ConfigType};
use crate::session::DeviceView;

/// How a device stays registered. Seconds between two keepalives stand in two places; either may be set.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerConfig {
    /// Seconds between two keepalives, 5 to 3600.
    #[schema(example = 60)]
    keepalive: Option<u32>,
    /// Keepalives that may be missing.
    #[schema(example = 3)]
    keepalive_count: Option<u32>,
    /// Seconds of a registration, 60 to 604800.
    #[schema(example = 3600)]
    expires: Option<u32>,
    register: Option<RegisterConfig>,
}

/// Where a device registers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RegisterConfig {
    /// Of this node, as the device reaches it; null = not known.
    #[schema(example = "192.168.1.2")]
    addr: Option<String>,
    #[schema(example = 5060)]
    port: Option<u16>,
    /// `UDP`, `TCP` or `TLS`, as it registered last.
    #[schema(example = "UDP")]
    proto: Option<String>,
    /// Seconds between two keepalives, 5 to 3600.
    #[schema(example = 60)]
    keepalive: Option<u32>,
    /// Its code: by that it registers.
    #[schema(example = "34020000001110000001")]
    user: Option<String>,
    /// null: never told; a password is set by `/28181in/device`.
    password: Lack,
    /// null: the standard has none.
    pathway: Lack,
}

impl RegisterConfig {
    /// Where it is registered, as this node knows it.
    fn known(view: &DeviceView, at: Option<SocketAddr>) -> RegisterConfig {
        RegisterConfig {
            addr: at.map(|at| at.ip().to_string()),
            port: at.map(|at| at.port()),
            proto: view.peer.map(|_| view.transport.name().to_owned()),
            user: view.device.map(|device| device.to_string()),
            ..RegisterConfig::default()
        }
    }
}

impl Setup for ServerConfig {
    const KINDS: &'static [ConfigType] = &[ConfigType::Basic];

    fn read(told: Vec<Settings>) -> Option<ServerConfig> {
        let basic = super::pick!(told, Basic)?;
        Some(ServerConfig {
            keepalive: basic.heart_beat_interval,
            keepalive_count: basic.heart_beat_count,
            expires: basic.expiration,
            register: None,
        })
    }

    fn complete(&mut self, view: &DeviceView, at: Option<SocketAddr>) {
        self.register = Some(RegisterConfig {
            keepalive: self.keepalive,
            ..RegisterConfig::known(view, at)
        });
    }

    fn compare(&self, view: &DeviceView, at: Option<SocketAddr>) -> Result<(), Failure> {
        let Some(given) = &self.register else {
            return Ok(());
        };
        let is = RegisterConfig::known(view, at);
        fixed("addr", given.addr.as_ref(), &is.addr.unwrap_or_default())?;
        fixed("port", given.port.as_ref(), &is.port.unwrap_or_default())?;
        fixed("proto", given.proto.as_ref(), &is.proto.unwrap_or_default())?;
        fixed("user", given.user.as_ref(), &is.user.unwrap_or_default())?;
        lacking([("password", given.password), ("pathway", given.pathway)])
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        let inner = self.register.and_then(|register| register.keepalive);
        Ok(vec![Settings::Basic(BasicParam {
            name: None,
            expiration: self.expires,
            heart_beat_interval: either(
                ("register.keepalive", inner),
                ("keepalive", self.keepalive),
            )?,
            heart_beat_count: self.keepalive_count,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::envelope::Code;
    use crate::gb28181::SipTransport;
    use crate::id::DeviceId;
    use serde_json::json;

    fn view() -> DeviceView {
        DeviceView {
            device: Some(DeviceId("34020000001110000001".parse().expect("a code"))),
            peer: Some("192.0.2.7:5060".parse().expect("an address")),
            transport: SipTransport::Tls,
            ..DeviceView::default()
        }
    }

    fn config(json: serde_json::Value) -> ServerConfig {
        serde_json::from_value(json).expect("readable")
    }

    #[test]
    fn where_a_device_is_registered_is_told_and_cannot_be_set_otherwise() {
        let at = Some("192.0.2.1:5061".parse().expect("an address"));
        let mut read = config(json!({"keepalive": 60}));
        read.complete(&view(), at);
        let shown = serde_json::to_value(&read).expect("written");
        assert_eq!(
            shown["register"],
            json!({"addr": "192.0.2.1", "port": 5061, "proto": "TLS", "keepalive": 60,
                "user": "34020000001110000001", "password": null, "pathway": null})
        );
        assert_eq!(config(shown.clone()).compare(&view(), at), Ok(()));
        for (key, value) in [
            ("addr", json!("192.0.2.2")),
            ("port", json!(5060)),
            ("proto", json!("UDP")),
            ("user", json!("admin")),
            ("password", json!("x")),
            ("pathway", json!("/")),
        ] {
            let mut other = shown.clone();
            other["register"][key] = value;
            let failure = config(other).compare(&view(), at).expect_err(key);
            assert_eq!(failure.code, Code::Unsupported, "{key}");
            assert!(failure.msg.contains(key), "{}", failure.msg);
        }
    }

    #[test]
    fn the_keepalive_is_taken_from_either_place() {
        let interval = |json| {
            let settings = config(json).settings()?;
            let [Settings::Basic(basic)] = &settings[..] else {
                panic!("another type");
            };
            Ok::<_, Failure>(basic.heart_beat_interval)
        };
        assert_eq!(
            interval(json!({"register": {"keepalive": 45}})),
            Ok(Some(45))
        );
        assert_eq!(interval(json!({"keepalive": 45})), Ok(Some(45)));
        let both = json!({"keepalive": 45, "register": {"keepalive": 60}});
        let failure = interval(both).expect_err("differ");
        assert_eq!(failure.code, Code::ErrorParam);
        assert!(
            failure.msg.contains("register.keepalive"),
            "{}",
            failure.msg
        );
    }
}
