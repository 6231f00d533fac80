//! The embedded store: the same contract on one machine's disk.
