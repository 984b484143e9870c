//! The program `client`; everything is in the library.

fn main() -> std::process::ExitCode {
    client::cli::main()
}
