//! What SIP counts, as metrics.

use telephony::server::ServerStatus;

/// Shows the counters as they are now.
pub(crate) fn show(status: &ServerStatus) {
    let ServerStatus { live_calls, sip, transport } = status;
    metrics::gauge!("dce_sip_live_calls").set(*live_calls as f64);
    let counters = [
        ("dce_sip_messages_received_total", sip.messages_received),
        ("dce_sip_malformed_total", sip.malformed),
        ("dce_sip_invites_total", sip.invites),
        ("dce_sip_refused_unknown_trunk_total", sip.refused_unknown_trunk),
        ("dce_sip_refused_no_number_total", sip.refused_no_number),
        ("dce_sip_refused_overload_total", sip.refused_overload),
        ("dce_sip_refused_other_total", sip.refused_other),
        ("dce_sip_trunk_failovers_total", sip.trunk_failovers),
        ("dce_sip_unusable_uris_total", sip.unusable_uris),
        ("dce_sip_peers_lost_total", sip.peers_lost),
        ("dce_sip_callers_moved_total", sip.callers_moved),
        ("dce_sip_moves_refused_total", sip.moves_refused),
        ("dce_sip_engine_silent_total", sip.engine_silent),
        ("dce_sip_repeats_received_total", sip.transactions.repeats_received),
        ("dce_sip_repeats_sent_total", sip.transactions.repeats_sent),
        ("dce_sip_transactions_refused_total", sip.transactions.refused),
        ("dce_sip_timeouts_total", sip.transactions.timeouts),
        ("dce_sip_datagrams_dropped_total", transport.datagrams_dropped),
        ("dce_sip_datagrams_unsent_total", transport.datagrams_unsent),
        ("dce_sip_streams_unreadable_total", transport.streams_unreadable),
        ("dce_sip_streams_too_slow_total", transport.streams_too_slow),
        ("dce_sip_connections_refused_total", transport.connections_refused),
    ];
    for (name, count) in counters {
        metrics::counter!(name).absolute(count);
    }
}
