//! The contract of a store, run over each of them: the same tests, by the same words.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on panics"
)]

#[path = "store_contract/append.rs"]
mod append;
#[path = "store_contract/attempts.rs"]
mod attempts;
#[path = "store_contract/bury.rs"]
mod bury;
#[path = "store_contract/cluster_only.rs"]
mod cluster_only;
#[path = "store_contract/delivery.rs"]
mod delivery;
#[path = "store_contract/embedded_only.rs"]
mod embedded_only;
#[path = "store_contract/feed.rs"]
mod feed;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/guard.rs"]
mod guard;
#[path = "store_contract/hands.rs"]
mod hands;
#[path = "store_contract/kit.rs"]
mod kit;
#[path = "store_contract/letters.rs"]
mod letters;
#[path = "store_contract/live.rs"]
mod live;
#[path = "store_contract/load.rs"]
mod load;
#[path = "store_contract/lost_answers.rs"]
mod lost_answers;
#[path = "store_contract/marks.rs"]
mod marks;
#[path = "store_contract/model.rs"]
mod model;
#[path = "store_contract/nodes.rs"]
mod nodes;
#[path = "store_contract/ordered.rs"]
mod ordered;
#[path = "store_contract/pending.rs"]
mod pending;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/port.rs"]
mod port;
#[path = "store_contract/redis_keys.rs"]
mod redis_keys;
#[path = "store_contract/redis_live.rs"]
mod redis_live;
#[path = "store_contract/redis_only.rs"]
mod redis_only;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/redis.rs"]
mod redis_server;
#[path = "store_contract/registry.rs"]
mod registry;
#[path = "store_contract/reopen.rs"]
mod reopen;
#[path = "store_contract/replay.rs"]
mod replay;
#[path = "store_contract/stale.rs"]
mod stale;
#[path = "store_contract/stamp.rs"]
mod stamp;
#[path = "store_contract/ttl.rs"]
mod ttl;

/// Makes each test once for each store, as `STORE::FILE::TEST`.
macro_rules! contract {
    ({ $($store:ident: $home:ty,)* } $tests:tt) => {
        $(contract!(@store $store, $home, $tests);)*
    };
    (@store $store:ident, $home:ty, { $($file:ident { $($test:ident)* })* }) => {
        mod $store {
            $(mod $file {
                $(
                    #[tokio::test]
                    async fn $test() {
                        crate::$file::$test::<$home>().await;
                    }
                )*
            })*
        }
    };
}

contract! {
    {
        on_redis: crate::redis_only::RedisHome,
        on_cluster: crate::cluster_only::ClusterHome,
        on_disk: crate::embedded_only::EmbeddedHome,
    }
    {
        append {
            ids_rise_in_commit_order_with_concurrent_appends
            more_events_than_a_millisecond_holds_keep_their_order
            payloads_keep_their_bytes
            an_event_is_dated_by_the_stores_clock
            groups_are_answered_in_order
            the_same_type_twice_in_one_append_is_in_order
            a_full_backlog_refuses_its_type_alone
            a_key_gives_its_first_answer_again
            a_key_counts_within_the_same_append
            a_key_with_another_body_stores_nothing
            a_key_is_forgotten_after_its_window
            a_key_of_a_refused_group_is_not_used_up
            positions_are_given_once
        }
        feed {
            events_come_newest_first_up_to_the_limit
            a_page_carries_on_below_the_one_before
            only_the_types_asked_for_are_read
            a_range_holds_its_first_millisecond_and_not_its_last
            an_empty_range_holds_nothing
            ten_thousand_events_fit_a_page
            a_month_of_a_thousand_types_with_little_in_it_is_quick
            a_page_of_many_busy_types_is_in_order
        }
        ttl {
            an_event_shows_for_its_lifetime_to_the_millisecond
            permanent_and_expiring_types_share_a_page
            a_shorter_lifetime_hides_at_once
            a_longer_lifetime_keeps_what_is_there
            expired_events_do_not_come_back_with_a_longer_lifetime
            ephemeral_events_are_delivered_and_never_read
            a_type_turned_ephemeral_leaves_the_feed
        }
        marks {
            a_client_reads_what_it_has_not_marked
            a_page_is_filled_past_what_is_marked
            a_mark_is_set_once
            a_mark_is_taken_back
            unknown_events_cannot_be_marked
            an_event_names_who_has_processed_it
        }
        pending {
            what_is_not_marked_is_pending
            what_has_expired_is_not_pending
            a_changed_lifetime_changes_what_is_pending
            the_oldest_of_many_is_found
        }
        stamp {
            a_stamp_changes_with_what_is_appended_in_its_range
            a_stamp_follows_a_clients_marks
            a_stamp_changes_when_an_event_expires_and_says_when
            a_stamp_follows_lifetimes
            a_stamp_of_a_thousand_types_is_quick
            two_equal_stamps_mean_the_same_page
        }
        delivery {
            a_claim_holds_what_is_due_in_commit_order
            what_is_delivered_is_gone
            a_failed_event_comes_back_when_it_is_due
            what_is_released_is_due_at_once_and_first
            a_dead_letter_is_kept_and_listed
            dead_letters_are_kept_for_their_time
            a_renewed_claim_has_a_new_fence
            a_lapsed_claim_is_taken_by_another
            held_events_stay_with_their_holder
            everything_can_be_made_due
            due_names_streams_with_work
            an_event_says_where_it_stands
            a_forgotten_stream_has_no_past
        }
        letters {
            all_letters_are_sent_again
            some_letters_are_sent_again
            a_letter_can_die_and_be_sent_again_any_number_of_times
            an_ordered_stream_gets_a_letter_before_what_is_newer
            a_letter_sent_again_is_not_forgotten_with_its_first_death
            deleted_letters_are_dropped
            a_stream_that_comes_back_can_be_sent_its_letters
            a_letter_of_an_ephemeral_type_is_sent_again
            a_stream_without_letters_has_none_to_send
            five_thousand_letters_are_sent_and_deleted
        }
        bury {
            all_that_waits_becomes_a_dead_letter_with_its_reason
            a_buried_backlog_is_full_no_more
            what_was_buried_can_be_sent_again
            a_buried_and_forgotten_stream_begins_anew
            a_buried_ordered_stream_goes_on_at_once
            events_of_an_ephemeral_type_are_buried_with_their_payload
            a_stream_without_events_has_none_to_bury
            five_thousand_events_are_buried
        }
        replay {
            delivered_events_are_delivered_again
            a_range_is_exact_to_the_millisecond
            what_has_expired_is_not_replayed
            what_waits_is_not_queued_twice
            dead_letters_of_the_range_are_so_no_more
            a_replay_past_the_limit_queues_nothing
            a_new_stream_is_given_what_was_before_it
            an_ephemeral_type_has_nothing_to_replay
            an_ordered_stream_gets_a_replay_before_what_is_newer
            five_thousand_events_are_replayed
        }
        attempts {
            attempts_come_newest_first
            the_newest_thousand_attempts_are_kept
            attempts_are_recorded_side_by_side
            attempts_go_when_none_was_added_for_their_time
        }
        model {
            states_and_counters_agree_whatever_is_done
        }
        hands {
            nothing_is_lost_or_settled_twice
        }
        ordered {
            one_claim_is_given_at_a_time
            a_held_event_stays_in_front
            a_lapsed_claim_is_taken_over_whole_and_first
            released_events_come_again_in_order
            a_stream_turned_ordered_waits_for_its_claims
        }
        registry {
            a_record_is_kept_as_it_was_given
            numbers_are_given_once_and_revisions_rise
            a_change_based_on_an_old_record_is_a_conflict
            of_two_changes_at_once_one_wins
            a_deleted_type_keeps_number_and_lifetime
            there_are_as_many_numbers_as_an_id_can_hold
            unknown_types_are_counted_as_discarded
            the_newest_thousand_discarded_types_are_kept
        }
        live {
            commits_come_in_order_and_name_the_one_before
            what_is_listened_to_comes_from_the_answer_on
            payloads_and_ephemeral_events_are_live
            a_reader_that_lags_sees_that_something_is_missing
        }
        stale {
            an_append_by_an_old_record_stores_nothing
            a_deleted_type_takes_nothing_by_the_record_before
            a_repeated_send_is_answered_whatever_its_record
            an_old_record_is_no_full_backlog
            what_is_in_force_outlives_a_restart
        }
        nodes {
            a_node_is_listed_as_it_announced_itself_last
            a_silent_node_is_gone
        }
        reopen {
            everything_outlives_a_restart
        }
    }
}
