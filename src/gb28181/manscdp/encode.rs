//! Writing MANSCDP bodies: the queries of a platform, and the answers and notifications of a device.
//!
//! GB/T 28181-2016, A.2.4 (queries), A.2.5 (notifications), A.2.6 (responses). Lines end with CRLF; values are escaped;
//! the declared charset is the one the bytes are in, except that GB 18030 characters may stand under the name GB2312,
//! as every device reads them.

use std::fmt::Write;

use super::charset::{self, Charset};
use super::{CatalogItem, CmdType, DeviceInfo, Root};
use crate::id::GbId;

/// A query without parameters: Catalog, DeviceInfo, DeviceStatus.
pub fn query(cmd: CmdType, sn: u32, target: GbId, charset: Charset) -> Vec<u8> {
    document(Root::Query, cmd, sn, target, charset, |_| {})
}

/// Asks a channel for a key frame (GB/T 28181-2016, A.2.3.1.5; GB/T 28181-2022 spells the element right).
pub fn key_frame(sn: u32, channel: GbId, is_2022: bool, charset: Charset) -> Vec<u8> {
    let name = if is_2022 { "IFrameCmd" } else { "IFameCmd" };
    document(
        Root::Control,
        CmdType::DeviceControl,
        sn,
        channel,
        charset,
        |out| element(out, name, "Send"),
    )
}

/// Keepalive of a device (GB/T 28181-2016, A.2.5 a).
pub fn keepalive(sn: u32, device: GbId, charset: Charset) -> Vec<u8> {
    document(
        Root::Notify,
        CmdType::Keepalive,
        sn,
        device,
        charset,
        |out| element(out, "Status", "OK"),
    )
}

/// One message of a Catalog response: `total` items in all messages, `items` of them here.
pub fn catalog(
    sn: u32,
    device: GbId,
    total: u32,
    items: &[CatalogItem],
    charset: Charset,
) -> Vec<u8> {
    document(
        Root::Response,
        CmdType::Catalog,
        sn,
        device,
        charset,
        |out| {
            number(out, "SumNum", total);
            _ = write!(out, "<DeviceList Num=\"{}\">\r\n", items.len());
            for item in items {
                catalog_item(out, item, None);
            }
            out.push_str("</DeviceList>\r\n");
        },
    )
}

/// DeviceInfo response.
pub fn device_info(sn: u32, device: GbId, info: &DeviceInfo, charset: Charset) -> Vec<u8> {
    document(
        Root::Response,
        CmdType::DeviceInfo,
        sn,
        device,
        charset,
        |out| {
            element(out, "DeviceName", &info.name);
            element(out, "Result", "OK");
            element(out, "Manufacturer", &info.manufacturer);
            element(out, "Model", &info.model);
            element(out, "Firmware", &info.firmware);
            if let Some(channels) = info.channels {
                number(out, "Channel", channels);
            }
        },
    )
}

/// DeviceStatus response.
pub fn device_status(
    sn: u32,
    device: GbId,
    online: bool,
    recording: bool,
    charset: Charset,
) -> Vec<u8> {
    document(
        Root::Response,
        CmdType::DeviceStatus,
        sn,
        device,
        charset,
        |out| {
            element(out, "Result", "OK");
            element(out, "Online", if online { "ONLINE" } else { "OFFLINE" });
            element(out, "Status", "OK");
            element(out, "Encode", "ON");
            element(out, "Record", if recording { "ON" } else { "OFF" });
        },
    )
}

/// A message: its head, and what `fill` writes behind it.
pub fn document(
    root: Root,
    cmd: CmdType,
    sn: u32,
    device: GbId,
    charset: Charset,
    fill: impl FnOnce(&mut String),
) -> Vec<u8> {
    let name = match root {
        Root::Query => "Query",
        Root::Control => "Control",
        Root::Notify => "Notify",
        Root::Response | Root::Other => "Response",
    };
    let declared = match charset {
        Charset::Gb2312 => "GB2312",
        Charset::Utf8 => "UTF-8",
    };
    let mut out = String::with_capacity(512);
    _ = write!(
        out,
        "<?xml version=\"1.0\" encoding=\"{declared}\"?>\r\n<{name}>\r\n<CmdType>{}</CmdType>\r\n<SN>{sn}</SN>\r\n<DeviceID>{device}</DeviceID>\r\n",
        cmd.name()
    );
    fill(&mut out);
    _ = write!(out, "</{name}>\r\n");
    match charset {
        Charset::Utf8 => out.into_bytes(),
        Charset::Gb2312 if out.is_ascii() => out.into_bytes(),
        Charset::Gb2312 => charset::encode(&out, charset).into_owned(),
    }
}

/// One item of a directory; `event` says what happened to it, in a notification.
pub fn catalog_item(out: &mut String, item: &CatalogItem, event: Option<&str>) {
    out.push_str("<Item>\r\n");
    element(out, "DeviceID", &item.id);
    if let Some(event) = event {
        element(out, "Event", event);
    }
    element(out, "Name", &item.name);
    element(out, "Manufacturer", &item.manufacturer);
    element(out, "Model", &item.model);
    element(out, "Owner", &item.owner);
    element(out, "CivilCode", &item.civil_code);
    element(out, "Address", &item.address);
    number(out, "Parental", u32::from(item.parental));
    element(out, "ParentID", &item.parent_id);
    if !item.business_group_id.is_empty() {
        element(out, "BusinessGroupID", &item.business_group_id);
    }
    number(out, "RegisterWay", 1);
    number(out, "Secrecy", u32::from(item.secrecy));
    element(out, "Status", if item.online { "ON" } else { "OFF" });
    if let (Some(longitude), Some(latitude)) = (item.longitude, item.latitude) {
        _ = write!(
            out,
            "<Longitude>{longitude}</Longitude>\r\n<Latitude>{latitude}</Latitude>\r\n"
        );
    }
    if item.ptz_type != 0 {
        _ = write!(
            out,
            "<Info>\r\n<PTZType>{}</PTZType>\r\n</Info>\r\n",
            item.ptz_type
        );
    }
    out.push_str("</Item>\r\n");
}

fn number(out: &mut String, name: &str, value: u32) {
    _ = write!(out, "<{name}>{value}</{name}>\r\n");
}

/// An element with a text, escaped; control characters are left out.
pub fn element(out: &mut String, name: &str, value: &str) {
    _ = write!(out, "<{name}>");
    for c in value.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    _ = write!(out, "</{name}>\r\n");
}
