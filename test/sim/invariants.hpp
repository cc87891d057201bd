// What must hold, whatever goes wrong: each as one function whose name is the sentence. They know what was
// seen and what the servers knew, and nothing of the library's insides.
#pragma once

#include "observations.hpp"

#include <string>
#include <vector>

namespace holdfast::sim {

struct complaint {
    std::string broken; ///< the invariant, as a sentence
    std::string how;    ///< what was seen instead
};
using complaints = std::vector<complaint>;

// --- after each step

void the_shared_stream_is_always_drained(const step_view& seen, complaints& out);
void a_suspect_endpoint_is_probed_by_one_attempt_at_a_time(const attempt_view& seen, complaints& out);
void every_open_turn_settles_in_bounded_time_once_all_is_well(const waiting_turn& seen, complaints& out);

/// How long that may take: a stall (60 s), a backoff (30 s), two header deadlines (10 s each), a quiet check
/// (30 s), a REST exchange (30 s) and the grace of a prompt that is stored and not begun (60 s), and some for
/// what comes together.
inline constexpr duration settle_bound = seconds(260);

/// What is told to a feed. The longest wait of a look that failed (60 s) and some looks come on top.
void every_followed_prompt_settles_in_bounded_time_once_all_is_well(const waiting_feed& seen,
                                                                    complaints& out);
inline constexpr duration follow_bound = settle_bound + seconds(60);

/// What a callback says that a sweep makes throw.
inline constexpr const char* thrown_on_purpose = "thrown on purpose";

// --- at the end

void every_prompt_settles_exactly_once(const observations& seen, complaints& out);
void the_settlement_is_the_last_thing_told(const observations& seen, complaints& out);
void an_outcome_is_what_the_server_knows_to_be_true(const observations& seen, complaints& out);
void lost_is_said_only_where_the_truth_cannot_be_had(const observations& seen, complaints& out);
void nothing_is_safe_to_reprompt_that_runs_or_will_run(const observations& seen, complaints& out);
void text_is_told_with_no_hole_and_no_repeat(const observations& seen, complaints& out);
void what_a_gap_row_calls_missing_is_missing(const observations& seen, complaints& out);
void the_settled_text_is_the_last_answers(const observations& seen, complaints& out);
void order_holds_within_a_session(const observations& seen, complaints& out);
void nothing_of_one_session_reaches_another(const observations& seen, complaints& out);
void nothing_is_told_twice(const observations& seen, complaints& out);
void attempts_stay_within_the_policy(const observations& seen, complaints& out);
void a_dead_endpoint_is_not_hammered(const observations& seen, complaints& out);
void a_queue_stays_within_its_bound(const observations& seen, complaints& out);
void the_log_says_no_more_than_happened(const observations& seen, complaints& out);
void after_an_abort_only_the_settlement_is_handed_out(const observations& seen, complaints& out);
void no_exception_escapes(const observations& seen, complaints& out);
void nothing_is_left_when_all_has_stopped(const observations& seen, complaints& out);

// --- of feeds, at the end

/// To each feed, what holds for the owner of a turn that took it up: see above.
void what_a_feed_tells_is_as_its_owner_would_be_told(const observations& seen, complaints& out);
void nothing_is_told_of_turns_that_were_over_when_the_following_began(const observations& seen,
                                                                      complaints& out);
void a_feed_ends_when_its_session_or_its_server_does(const observations& seen, complaints& out);
void followers_do_not_hammer(const observations& seen, complaints& out);

/// All those of the end.
void check_the_end(const observations& seen, complaints& out);

} // namespace holdfast::sim
