// What tail, run and cat --turns tell, as JSON rows. The formats are contracts: tests hold them.
#pragma once

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/sse/parser.hpp>
#include <holdfast/stream/event_source.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace holdfast::app {

/// The status of an answer; null: there was none.
[[nodiscard]] boost::json::value status_or_null(int status);
[[nodiscard]] boost::json::object event_row(const sse::event& e);
/// opened, event, comment, skipped, interrupted, done or gave_up.
[[nodiscard]] boost::json::object stream_row(const stream::item& item);
[[nodiscard]] boost::json::object turn_row(std::string_view session, std::string_view message);
/// A prompt without a reply is with the server.
[[nodiscard]] boost::json::object stored_row(std::string_view session, std::string_view message);
/// Nullopt for what has no row: usage, which the settlement sums up.
[[nodiscard]] std::optional<boost::json::object> agent_row(const opencode::agent_event& e);

/// The row of one turn among others: its own object says whose turn it is; an ask keeps the session that
/// asks, which may be a child's, so the row itself says it too.
[[nodiscard]] boost::json::object with_turn(boost::json::object row, std::string_view session,
                                            std::string_view message);

/// The line that tells why a turn that did not complete ended as it did.
[[nodiscard]] std::string why_not_completed(const opencode::settlement& how);

} // namespace holdfast::app
