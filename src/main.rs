//! Arguments → config → app → exit code.
//!
//! Exit codes: 0 done, 1 failed while running (`probe`: something is wrong with the recording), 2 cannot start (config, ports, certificate, data folder).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gantry::app::{self, ServeOptions};
use gantry::config::Config;
use gantry::{probe, sim};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A media node for video surveillance: GB/T 28181 devices in, browsers and players out.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the node.
    Serve {
        /// Configuration file; without it the defaults and GANTRY_... variables hold.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Folder of everything that the node writes.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Also run four simulated cameras that register with this node.
        #[arg(long)]
        demo: bool,
    },
    /// Run simulated devices against a node.
    Simulate(Box<sim::Args>),
    /// Say what is in a recording and what is wrong with it: .pcap, .pcapng, .rtpdump, .ps, .ts.
    Probe(probe::Args),
    /// Read a configuration as `serve` would, and say what is wrong with it.
    CheckConfig {
        #[arg(value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Task::Serve { config, data, demo } => {
            // Before much is allocated: what has become a huge page stays one.
            gantry::net::refuse_huge_pages();
            let overrides: Vec<(String, String)> = data
                .map(|dir| ("node.data_dir".to_string(), dir.display().to_string()))
                .into_iter()
                .collect();
            let config = match Config::load(config.as_deref(), variables(), &overrides) {
                Ok(config) => config,
                Err(e) => return cannot_start(&e),
            };
            app::start_logs(&config.log);
            app::serve(config, ServeOptions { demo })
        }
        Task::Simulate(arguments) => {
            app::start_logs(&gantry::config::Log::default());
            app::run(sim::run(*arguments))
        }
        Task::Probe(arguments) => probe::run(&arguments),
        Task::CheckConfig { config } => match Config::load(config.as_deref(), variables(), &[]) {
            Ok(_) => {
                println!("the configuration is good");
                ExitCode::SUCCESS
            }
            Err(e) => cannot_start(&e),
        },
    }
}

fn cannot_start(e: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("gantry: {e}");
    ExitCode::from(2)
}

/// The environment, without what is no text: names and values of ours are.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
