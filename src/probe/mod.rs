//! `gantry probe FILE`: what a live view would say of a recording, from the same parsers, with a verdict.
//!
//! | file | known by |
//! |---|---|
//! | .pcap, .pcapng with SIP, RTP over UDP or TCP | its magic number |
//! | .rtpdump (rtptools) | its first line |
//! | program stream | a pack header at its start |
//! | transport stream | sync bytes 188 apart |
//!
//! Exit codes: 0 healthy, 1 something is wrong, 2 the file cannot be read or is none of these.
//!
//! Bounds: [`limits::PROBE_FILE_BYTES_MAX`], [`limits::PROBE_SIP_MESSAGES_MAX`], [`limits::PROBE_STREAMS_MAX`].

mod capture;
mod media;
mod report;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use bytes::Bytes;

use crate::diagnosis::rtpdump;
use crate::diagnosis::sentence::{self, Facts};
use crate::id::Ssrc;
use crate::limits;
use crate::media::rtp;
use crate::session::Stage;

use media::{Run, Timed};
use report::{Report, View};

/// What to look at, and how to say it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Capture (.pcap, .pcapng), .rtpdump, program stream or transport stream
    pub file: PathBuf,
    /// Everything as JSON
    #[arg(long)]
    pub json: bool,
}

/// Reads the file and prints what it is and what is wrong with it.
pub fn run(args: &Args) -> ExitCode {
    let report = read_file(&args.file).and_then(|file| {
        let name = args.file.display();
        look(Instant::now(), &file).ok_or_else(|| {
            format!(
                "{name}: neither a capture, an rtpdump, a program stream nor a transport stream"
            )
        })
    });
    match report {
        Ok(report) if args.json => {
            println!("{}", report.to_json());
            verdict(&report)
        }
        Ok(report) => {
            print!("{}", report.to_text());
            verdict(&report)
        }
        Err(problem) => {
            eprintln!("gantry: {problem}");
            ExitCode::from(2)
        }
    }
}

fn verdict(report: &Report) -> ExitCode {
    if report.verdict().kind.is_healthy() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn read_file(path: &Path) -> Result<Bytes, String> {
    let cannot = |e: std::io::Error| format!("{}: {e}", path.display());
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    let max = limits::PROBE_FILE_BYTES_MAX;
    file.take(max + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > max {
        return Err(format!("{}: longer than {max} bytes", path.display()));
    }
    Ok(bytes.into())
}

/// The SSRC of a file that has none.
const NO_SSRC: Ssrc = Ssrc(0);

/// `None`: not a file that can be looked at. Time is counted from `epoch`.
fn look(epoch: Instant, file: &Bytes) -> Option<Report> {
    if let Some(report) = capture::read(epoch, file) {
        return Some(report);
    }
    if let Some(records) = rtpdump::read(file) {
        let packets = records.into_iter().map(|record| Timed {
            us: i64::from(record.ms) * 1_000,
            packet: record.packet,
        });
        return Some(of_packets(epoch, "rtpdump", packets.collect()));
    }
    let kind = if file.starts_with(&[0, 0, 1, 0xba]) {
        "program stream"
    } else if is_transport_stream(file) {
        "transport stream"
    } else {
        return None;
    };
    let run = Run::of(epoch, NO_SSRC, true, &media::packets_of_file(file, NO_SSRC));
    Some(of_runs(kind, vec![run], "file"))
}

fn is_transport_stream(file: &[u8]) -> bool {
    file.len() >= 188 && file.iter().step_by(188).take(4).all(|byte| *byte == 0x47)
}

/// Each SSRC of a dump is a stream.
fn of_packets(epoch: Instant, kind: &'static str, packets: Vec<Timed>) -> Report {
    let mut by_ssrc: Vec<(Ssrc, Vec<Timed>)> = Vec::new();
    for packet in packets {
        let Some(ssrc) = rtp::peek_ssrc(&packet.packet) else {
            continue;
        };
        match by_ssrc.iter().position(|(known, _)| *known == ssrc) {
            Some(at) => by_ssrc[at].1.push(packet),
            None if by_ssrc.len() < limits::PROBE_STREAMS_MAX => by_ssrc.push((ssrc, vec![packet])),
            None => {}
        }
    }
    let runs = by_ssrc.iter();
    let runs = runs.map(|(ssrc, packets)| Run::of(epoch, *ssrc, false, packets));
    of_runs(kind, runs.collect(), "udp")
}

fn of_runs(kind: &'static str, runs: Vec<Run>, carrier: &'static str) -> Report {
    let mut report = Report {
        kind,
        ..Report::default()
    };
    for mut run in runs {
        run.shown.carrier = carrier;
        let mut facts = Facts::at(Stage::Answered);
        run.add_to(&mut facts);
        report
            .views
            .push(View::of_stream(&run, sentence::find(&facts)));
        report.streams.push(run.shown);
    }
    report
}
