//! One file per subcommand; flags and exit codes.
