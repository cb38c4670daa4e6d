"""A WHEP client on GStreamer's webrtcbin: libnice, OpenSSL's DTLS, libsrtp, and ffmpeg's decoders.

    whep_gstreamer.py URL H264|H265 PICTURES SECONDS

Asks for one picture of that codec and one sound (PCMA) from an address of the loopback, decodes both, and ends when PICTURES
pictures and a sound were decoded. Prints one JSON object. Exit code 0: they were; 1: not within SECONDS, or an error;
77: GStreamer, its plugins or its Python module are not installed.
"""

import json
import sys
import urllib.request

try:
    import gi

    for module in ("Gst", "GstSdp", "GstWebRTC"):
        gi.require_version(module, "1.0")
    from gi.repository import GLib, Gst, GstSdp, GstWebRTC
except (ImportError, ValueError) as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

RECEIVE_ONLY = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
DECODERS = {
    "H264": "rtph264depay ! h264parse ! avdec_h264",
    "H265": "rtph265depay ! h265parse ! avdec_h265",
    "PCMA": "rtppcmadepay ! alawdec",
}


class Client:
    def __init__(self, url, codec, pictures, seconds):
        self.url, self.wanted = url, pictures
        self.seen = {"video": 0, "audio": 0, "size": None, "codecs": []}
        self.failed = None
        # The bindings drop what the element still uses, so everything that was handed over stays referenced here.
        self.kept = []
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.Pipeline.new("whep")
        self.rtc = Gst.ElementFactory.make("webrtcbin")
        self.rtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.rtc)
        ice = self.keep(self.rtc.get_property("ice-agent"))
        # libnice leaves the loopback out unless it is told.
        ice.emit("add-local-ip-address", "127.0.0.1")
        for media, name, payload, clock in (("video", codec, 96, 90000), ("audio", "PCMA", 8, 8000)):
            caps = f"application/x-rtp,media={media},encoding-name={name},payload={payload},clock-rate={clock}"
            self.rtc.emit("add-transceiver", RECEIVE_ONLY, Gst.Caps.from_string(caps))
        self.rtc.connect("pad-added", self.on_pad)
        self.rtc.connect("on-negotiation-needed", self.on_negotiation)
        self.rtc.connect("notify::ice-gathering-state", self.on_gathering)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, message: self.fail(str(message.parse_error())))
        GLib.timeout_add_seconds(seconds, self.fail, f"not decoded within {seconds} s")

    def keep(self, thing):
        self.kept.append(thing)
        return thing

    def fail(self, why):
        self.failed = why
        self.loop.quit()

    def description(self, kind, text):
        _, message = GstSdp.SDPMessage.new_from_text(text)
        self.keep(message)
        return self.keep(GstWebRTC.WebRTCSessionDescription.new(kind, message))

    def on_negotiation(self, _):
        self.rtc.emit("create-offer", None, self.keep(Gst.Promise.new_with_change_func(self.on_offer)))

    def on_offer(self, promise, *_):
        offer = self.keep(self.keep(promise.get_reply()).get_value("offer"))
        local = self.description(GstWebRTC.WebRTCSDPType.OFFER, offer.sdp.as_text())
        self.rtc.emit("set-local-description", local, self.keep(Gst.Promise.new()))

    def on_gathering(self, *_):
        if self.rtc.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            return
        offer = self.rtc.get_property("local-description").sdp.as_text()
        request = urllib.request.Request(self.url, offer.encode(), {"Content-Type": "application/sdp"}, method="POST")
        try:
            answer = urllib.request.urlopen(request, timeout=20).read().decode()
        except OSError as error:
            self.fail(f"{error}: {getattr(error, 'read', lambda: b'')().decode()}")
            return
        remote = self.description(GstWebRTC.WebRTCSDPType.ANSWER, answer)
        self.rtc.emit("set-remote-description", remote, self.keep(Gst.Promise.new()))

    def on_pad(self, _, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        caps = (pad.get_current_caps() or pad.query_caps()).get_structure(0)
        media, name = caps.get_string("media"), caps.get_string("encoding-name")
        self.seen["codecs"].append(name)
        decoder = Gst.parse_bin_from_description(f"{DECODERS[name]} ! identity name=out ! fakesink", True)
        decoder.get_by_name("out").connect("handoff", self.on_decoded, media)
        self.pipeline.add(decoder)
        decoder.sync_state_with_parent()
        pad.link(decoder.get_static_pad("sink"))

    def on_decoded(self, element, _, media):
        self.seen[media] += 1
        if media == "video" and self.seen["size"] is None:
            caps = element.get_static_pad("sink").get_current_caps().get_structure(0)
            self.seen["size"] = [caps.get_int("width")[1], caps.get_int("height")[1]]
        if self.seen["video"] >= self.wanted and self.seen["audio"] > 0:
            self.loop.quit()

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)
        print(json.dumps({**self.seen, "failed": self.failed}))
        return 1 if self.failed else 0


def main():
    Gst.init(None)
    needed = ["webrtcbin", "nicesrc", "dtlsenc", "srtpenc", "rtph265depay", "h265parse", "avdec_h264", "avdec_h265", "alawdec"]
    missing = [name for name in needed if Gst.ElementFactory.find(name) is None]
    if missing:
        print("not installed: " + ", ".join(missing), file=sys.stderr)
        return 77
    url, codec, pictures, seconds = sys.argv[1:]
    return Client(url, codec, int(pictures), int(seconds)).run()


sys.exit(main())
