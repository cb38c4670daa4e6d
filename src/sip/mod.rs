//! SIP (RFC 3261) over UDP and TCP. Knows nothing of GB/T 28181.
