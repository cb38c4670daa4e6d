//! Every method and command has its answer, the same from the same seed; connections that are lost.

use super::*;

#[test]
fn every_method_has_its_answer() {
    let mut net = Net::with_device(config(), 1);
    let id = device_id(1).to_string();
    let from = address_of(1);
    for (method, status) in [
        ("OPTIONS", 200),
        ("NOTIFY", 200),
        ("BYE", 481),
        ("INFO", 481),
        ("SUBSCRIBE", 405),
        ("UPDATE", 405),
        ("PUBLISH", 405),
        ("NONSENSE", 501),
    ] {
        let text = request(method, &id, from, &format!("m-{method}"), "");
        // A BYE or INFO outside a dialog still has a To tag.
        let text = text.replace(
            &format!("{PLATFORM_ID}@3402000000>\r\nCall"),
            &format!("{PLATFORM_ID}@3402000000>;tag=x\r\nCall"),
        );
        assert_eq!(net.status(from, &text), status, "{method}");
    }
    assert_eq!(net.platform.counters().no_dialog, 2);
    let text = request("NOTIFY", &device_id(9).to_string(), address_of(9), "n9", "");
    assert_eq!(net.status(address_of(9), &text), 403);
}

#[test]
fn every_command_has_its_answer() {
    use crate::gb28181::manscdp::CmdType;
    let mut net = Net::with_device(config(), 1);
    let id = device_id(1).to_string();
    let from = address_of(1);
    for (n, cmd) in CmdType::ALL.iter().enumerate() {
        for root in ["Notify", "Response", "Query"] {
            let body = format!(
                "<{root}><CmdType>{}</CmdType><SN>1</SN><DeviceID>{id}</DeviceID></{root}>",
                cmd.name()
            );
            let text = request("MESSAGE", &id, from, &format!("c{n}{root}"), &body);
            assert_eq!(net.status(from, &text), 200, "{root} {cmd:?}");
        }
    }
    let body = "<Notify><CmdType>DataTransfer</CmdType></Notify>";
    let text = request("MESSAGE", &id, from, "dji", body);
    assert_eq!(net.status(from, &text), 200);
    assert_eq!(net.platform.counters().unknown_cmd_type, 1);
    for (n, body) in ["", "nonsense", "<Notify><SN>1</SN></Notify>"]
        .iter()
        .enumerate()
    {
        let text = request("MESSAGE", &id, from, &format!("bad{n}"), body);
        assert_eq!(net.status(from, &text), 400, "{body}");
    }
    assert_eq!(net.platform.counters().malformed_xml, 3);
}

#[test]
fn the_same_seed_and_input_give_the_same_output() {
    let trace = || {
        let mut net = Net::with_device(config(), 3);
        net.invite(1, MediaTransport::Udp);
        net.run(2 * S);
        let start = net.events[0].0;
        net.events
            .iter()
            .map(|(at, e)| format!("{:?} {e:?}", at.duration_since(start)))
            .collect::<Vec<_>>()
    };
    assert_eq!(trace(), trace());
}

#[test]
fn over_tcp_a_lost_connection_is_noticed_and_a_new_one_taken() {
    let mut net = Net::new(config());
    let mut tcp = device_config(1, 1);
    tcp.path.transport = Transport::Tcp(ConnId(5));
    net.add(tcp);
    net.run(5 * S);
    assert_eq!(net.catalogs(), [(1, false)]);
    net.invite(1, MediaTransport::TcpPassive);
    net.run(S);
    assert_eq!(net.told(1), ["answered TcpPassive"]);
    let now = net.now;
    net.platform.handle_closed(now, ConnId(5));
    net.invite(2, MediaTransport::Udp);
    assert_eq!(net.told(2), ["failed DeviceOffline", "ended Us"]);
    let path = Path {
        peer: platform_address(),
        local: address_of(1),
        transport: Transport::Tcp(ConnId(6)),
    };
    net.device(1).set_path(path);
    net.run(61 * S);
    net.invite(3, MediaTransport::Udp);
    net.run(S);
    assert_eq!(net.told(3), ["answered Udp"]);
    // The dialog goes on over the new connection.
    net.command(Command::EndInvite { id: InviteId(1) });
    net.run(S);
    assert_eq!(net.told(1), ["ended Us"]);
}
