use super::super::encode;
use super::*;
use crate::gb28181::Condition;
use crate::gb28181::manscdp::charset::Charset;

fn id(text: &str) -> GbId {
    text.parse().expect("a code")
}

fn page(message: Message) -> CatalogPage {
    match message.body {
        Body::Catalog(page) => page,
        Body::Plain | Body::Keepalive { .. } | Body::DeviceInfo(_) | Body::DeviceStatus { .. } => {
            panic!("not a Catalog: {message:?}")
        }
    }
}

fn names(message: Message) -> Vec<String> {
    page(message).items.into_iter().map(|i| i.name).collect()
}

/// A Catalog response whose items are given as text.
fn catalog_of(items: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"GB2312\"?>\r\n<Response>\r\n<CmdType>Catalog</CmdType>\r\n<SN>17</SN>\r\n\
         <DeviceID>34020000001110000001</DeviceID>\r\n<SumNum>9</SumNum>\r\n<DeviceList Num=\"9\">\r\n{items}</DeviceList>\r\n</Response>\r\n"
    )
}

fn item(n: u32, inner: &str) -> String {
    format!("<Item>\r\n<DeviceID>3402000000132000{n:04}</DeviceID>\r\n{inner}\r\n</Item>\r\n")
}

#[test]
fn a_catalog_is_read_field_by_field() {
    let text = catalog_of(&item(
        7,
        "<Name>东门 &lt;1&gt; &#38; 侧</Name><Manufacturer>M</Manufacturer><Model> X </Model><Owner>O</Owner>\
         <CivilCode>340200</CivilCode><Address>路</Address><Parental>1</Parental><ParentID>34020000001110000001</ParentID>\
         <BusinessGroupID>34020000002150000001</BusinessGroupID><Secrecy> 0 </Secrecy><Status>OFF</Status><Longitude>117.28</Longitude><Latitude>31.86</Latitude>\
         <IPAddress>rtsp://a:b@1.2.3.4/x</IPAddress><Password></Password><Port/>\
         <Info><PTZType>3</PTZType><Resolution>6/5</Resolution></Info>",
    ));
    for body in [
        text.as_bytes().to_vec(),
        charset::encode(&text, Charset::Gb2312).into_owned(),
    ] {
        let message = parse(&body).expect("a message");
        assert_eq!(message.root, Root::Response);
        assert_eq!(message.sn, Some(17));
        assert_eq!(message.device, Some(id("34020000001110000001")));
        assert_eq!(message.flaws, Flaws::default());
        let page = page(message);
        assert_eq!(page.total, Some(9));
        assert_eq!(
            page.items,
            [CatalogItem {
                id: "34020000001320000007".into(),
                name: "东门 <1> & 侧".into(),
                manufacturer: "M".into(),
                model: "X".into(),
                owner: "O".into(),
                civil_code: "340200".into(),
                address: "路".into(),
                parent_id: "34020000001110000001".into(),
                business_group_id: "34020000002150000001".into(),
                parental: true,
                secrecy: false,
                online: false,
                longitude: Some(117.28),
                latitude: Some(31.86),
                ptz_type: 3,
                condition: Condition::Described,
            }]
        );
    }
}

#[test]
fn one_bad_item_never_loses_the_rest() {
    let bad = [
        "<Name>a & b</Name>",
        "<Name>a<b</Name>",
        "<Name>a<'b</Name>",
        "<Name>a<\"b</Name><Model>x</Model>",
        "<Name>a</Nmae><Model>x</Model>",
        "<Name>a<Model>x</Model>",
        "<Name>a</Name><Address>\u{1}\u{2}&#0;&nosuch;</Address>",
        "<Name>a</Name><!-- never closed",
        "<Name>a</Name><![CDATA[ never closed",
        "<Name>a</Name><?pi never closed",
        "<Name>a</Name><Deep><Deep><Deep>x</Deep>",
        "<Name>a</Name><Info><PTZType>1</PTZType>",
        "<Name>a</Name></Info></Item2></",
        "<Name>a</Name><",
    ];
    for bad in bad {
        let text = catalog_of(&format!(
            "{}{}{}",
            item(1, "<Name>one</Name>"),
            item(2, bad),
            item(3, "<Name>three</Name>")
        ));
        let page = page(parse(text.as_bytes()).expect("a message"));
        let ids: Vec<&str> = page.items.iter().map(|i| &i.id[16..]).collect();
        assert_eq!(ids, ["0001", "0002", "0003"], "{bad}");
        assert_eq!(page.items[0].name, "one", "{bad}");
        assert!(page.items[1].name.starts_with('a'), "{bad}");
        assert_eq!(page.items[2].name, "three", "{bad}");
    }
}

#[test]
fn a_missing_end_tag_of_an_item_loses_no_item() {
    let text = catalog_of(&format!(
        "{}{}",
        item(1, "<Name>one</Name>").replace("</Item>", ""),
        item(2, "<Name>two</Name>")
    ));
    assert_eq!(
        names(parse(text.as_bytes()).expect("a message")),
        ["one", "two"]
    );
    let text = text.replace("</Item>", "").replace("</DeviceList>", "");
    assert_eq!(
        names(parse(text.as_bytes()).expect("a message")),
        ["one", "two"]
    );
    let cut = &text[..text.find("</Response>").expect("an end")];
    assert_eq!(
        names(parse(cut.as_bytes()).expect("a message")),
        ["one", "two"]
    );
}

#[test]
fn an_item_without_an_id_is_counted_and_left_out() {
    let text = catalog_of(&format!(
        "<Item><Name>nobody</Name></Item>{}",
        item(1, "<Name>one</Name>")
    ));
    let message = parse(text.as_bytes()).expect("a message");
    assert_eq!(message.flaws.unusable_items, 1);
    let page = page(message);
    assert_eq!((page.items.len(), page.unusable), (1, 1));
}

#[test]
fn the_command_may_stand_in_the_root_or_behind_the_id() {
    for text in [
        "<Notify CmdType=\"Keepalive\" SN='5'><DeviceID>34020000001320000001</DeviceID><Status>OK</Status></Notify>",
        "<?xml version='1.0' encoding='GB2312'?><Notify><DeviceID>34020000001320000001</DeviceID><SN>5</SN><Status>OK</Status><CmdType> Keepalive\r\n</CmdType></Notify>",
        "\u{feff}<Notify>\n  <CmdType>keepalive</CmdType>\n  <SN>5</SN>\n  <DeviceID>34020000001320000001</DeviceID>\n</Notify>\0\0",
    ] {
        let message = parse(text.as_bytes()).expect("a message");
        assert_eq!(message.cmd, CmdType::Keepalive, "{text}");
        assert_eq!(message.sn, Some(5), "{text}");
        assert_eq!(message.device, Some(id("34020000001320000001")), "{text}");
        assert_eq!(message.body, Body::Keepalive { ok: true }, "{text}");
    }
}

#[test]
fn what_stands_inside_an_unknown_element_is_not_the_messages_own() {
    // The Info of a Keepalive lists devices with faults, each with a DeviceID of its own.
    let text = "<Notify><CmdType>Keepalive</CmdType><SN>1</SN><DeviceID>1</DeviceID><Info><DeviceID>2</DeviceID>\
                <Status>ERROR</Status></Info><Status>OK</Status></Notify>";
    let message = parse(text.as_bytes()).expect("a message");
    assert_eq!(message.device, Some(id("1")));
    assert_eq!(message.body, Body::Keepalive { ok: true });
    let text = "<Response><CmdType>RecordInfo</CmdType><SN>1</SN><DeviceID>1</DeviceID><RecordList Num='1'><Item>\
                <DeviceID>2</DeviceID></Item></RecordList></Response>";
    let message = parse(text.as_bytes()).expect("a message");
    assert_eq!(
        (message.cmd, message.device),
        (CmdType::RecordInfo, Some(id("1")))
    );
}

#[test]
fn what_is_no_message_is_an_error_and_an_unknown_command_is_not() {
    assert_eq!(parse(b""), Err(ParseError::NotXml));
    assert_eq!(parse(b"hello"), Err(ParseError::NotXml));
    assert_eq!(
        parse(b"<Notify><SN>1</SN></Notify>"),
        Err(ParseError::NoCmdType)
    );
    assert_eq!(parse(b"<Notify"), Err(ParseError::NotXml));
    let message = parse(b"<Notify><CmdType>DataTransfer</CmdType></Notify>").expect("a message");
    assert_eq!((message.cmd, message.body), (CmdType::Unknown, Body::Plain));
    let message = parse(b"<presence><tuple/></presence>").expect("a document");
    assert_eq!((message.root, message.cmd), (Root::Other, CmdType::Unknown));
}

#[test]
fn bounds_hold_from_both_sides() {
    let fill = |n: usize| {
        let items: String = (0..n as u32).map(|i| item(i, "")).collect();
        parse(catalog_of(&items).as_bytes()).expect("a message")
    };
    let message = fill(MANSCDP_ITEMS_MAX);
    assert!(!message.flaws.truncated);
    assert_eq!(page(message).items.len(), MANSCDP_ITEMS_MAX);
    let message = fill(MANSCDP_ITEMS_MAX + 1);
    assert!(message.flaws.truncated);
    assert_eq!(page(message).items.len(), MANSCDP_ITEMS_MAX);

    let name = |bytes: usize| {
        let inner = format!("<Name>{}</Name>", "x".repeat(bytes));
        parse(catalog_of(&item(1, &inner)).as_bytes()).expect("a message")
    };
    assert!(!name(MANSCDP_VALUE_BYTES_MAX).flaws.truncated);
    let message = name(MANSCDP_VALUE_BYTES_MAX + 1);
    assert!(message.flaws.truncated);
    assert_eq!(page(message).items[0].name.len(), MANSCDP_VALUE_BYTES_MAX);

    let repairs = |n: u16| {
        let text = format!(
            "<Notify>{}<CmdType>Keepalive</CmdType></Notify>",
            "<a<b></b>".repeat(usize::from(n))
        );
        parse(text.as_bytes())
    };
    assert!(repairs(MANSCDP_REPAIRS_MAX - 1).is_ok());
    assert_eq!(repairs(MANSCDP_REPAIRS_MAX), Err(ParseError::NoCmdType));

    let mut body = b"<Notify><CmdType>Keepalive</CmdType></Notify>".to_vec();
    body.resize(MANSCDP_BODY_BYTES_MAX, b' ');
    assert!(parse(&body).is_ok());
    body.push(b' ');
    assert_eq!(parse(&body), Err(ParseError::TooLong));
}

#[test]
fn what_is_written_is_read_again_in_both_charsets() {
    let device = id("34020000001110000001");
    let info = DeviceInfo {
        name: "测试 & <录像机>".into(),
        manufacturer: "G".into(),
        model: "M".into(),
        firmware: "1.0".into(),
        channels: Some(4),
    };
    let items = [CatalogItem {
        id: "34020000001320000001".into(),
        name: "𠮷野家门口 龘".into(),
        online: true,
        longitude: Some(1.5),
        latitude: Some(-2.5),
        ptz_type: 1,
        ..CatalogItem::default()
    }];
    for charset in [Charset::Gb2312, Charset::Utf8] {
        let message = parse(&encode::device_info(3, device, &info, charset)).expect("a message");
        assert_eq!(message.body, Body::DeviceInfo(Box::new(info.clone())));
        let message = parse(&encode::catalog(4, device, 8, &items, charset)).expect("a message");
        assert_eq!((message.sn, message.flaws), (Some(4), Flaws::default()));
        let page = page(message);
        assert_eq!((page.total, page.items.as_slice()), (Some(8), &items[..]));
        let message =
            parse(&encode::device_status(5, device, true, false, charset)).expect("a message");
        assert_eq!(
            message.body,
            Body::DeviceStatus {
                online: true,
                recording: false
            }
        );
        let message = parse(&encode::keepalive(6, device, charset)).expect("a message");
        assert_eq!(message.body, Body::Keepalive { ok: true });
        let message =
            parse(&encode::query(CmdType::Catalog, 7, device, charset)).expect("a message");
        assert_eq!(
            (message.root, message.cmd, message.sn, message.device),
            (Root::Query, CmdType::Catalog, Some(7), Some(device))
        );
    }
}

#[test]
fn every_known_command_is_known_by_its_name() {
    for cmd in CmdType::ALL {
        let text = format!("<Query><CmdType>{}</CmdType></Query>", cmd.name());
        assert_eq!(parse(text.as_bytes()).expect("a message").cmd, *cmd);
    }
}
