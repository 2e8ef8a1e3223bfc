#![no_main]
coverslip_fuzz::fuzz!(parquet);
