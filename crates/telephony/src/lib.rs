//! SIP: turns packets into inputs of the exchange and its actions into packets.
