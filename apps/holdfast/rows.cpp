#include "rows.hpp"

#include <holdfast/http/fields.hpp>

#include <boost/json/array.hpp>

namespace holdfast::app {
namespace {

namespace json = boost::json;

json::value or_null(const std::optional<std::string>& text) {
    return text ? json::value(*text) : json::value();
}

json::object usage_json(const opencode::turn_usage& used) {
    return {{"steps", used.steps},
            {"tokens",
             {{"input", used.tokens.input},
              {"output", used.tokens.output},
              {"reasoning", used.tokens.reasoning},
              {"cache_read", used.tokens.cache_read},
              {"cache_write", used.tokens.cache_write}}},
            {"cost", used.cost}};
}

json::object interrupted_row(const retry::failure& why, unsigned attempt, duration retry_in) {
    return {{"interrupted",
             {{"class", retry::to_string(why.cls)},
              {"error", why.message},
              {"status", status_or_null(why.status)},
              {"attempt", attempt},
              {"retry_ms", to_ms(retry_in)}}}};
}

std::string reason_words(const opencode::settlement_error& error) {
    const auto message =
        error.message.substr(0, error.message.find('\n')); // what follows is a stack, if anything
    return error.name.empty() ? message : error.name + ": " + message;
}

// For a settlement without an error; empty where the rule's name says it all.
std::string_view reason_words(opencode::rule why) {
    using opencode::rule;
    switch (why) {
    case rule::message_interrupted: return "its answer was interrupted";
    case rule::tool_rejected: return "a permission or a question was rejected";
    case rule::never_answered: return "the server is not busy, and there is no answer";
    case rule::unfinished: return "its answer stopped without an end, as when the server is restarted";
    case rule::session_deleted: return "the session was deleted";
    case rule::abort_requested:
    case rule::session_aborted: return "the session was aborted";
    default: return {};
    }
}

struct to_row {
    using row = std::optional<json::object>;

    row operator()(const opencode::text_event& e) const {
        return json::object{{"text", {{"part", e.part}, {"delta", e.delta}}}};
    }
    row operator()(const opencode::reasoning_event& e) const {
        return json::object{{"reasoning", {{"part", e.part}, {"delta", e.delta}}}};
    }
    row operator()(const opencode::tool_event& e) const {
        return json::object{
            {"tool", {{"id", e.id}, {"name", e.name}, {"state", e.state}, {"title", e.title}}}};
    }
    row operator()(const opencode::permission_event& e) const {
        json::array patterns;
        for (const auto& each : e.request.patterns)
            patterns.push_back(json::value(each));
        return json::object{{"permission",
                             {{"id", e.request.id},
                              {"session", e.request.session_id},
                              {"permission", e.request.permission},
                              {"patterns", std::move(patterns)},
                              {"reply", or_null(e.reply)},
                              {"by_rule", e.by_rule}}}};
    }
    row operator()(const opencode::question_event& e) const {
        json::array questions;
        for (const auto& each : e.request.questions) {
            json::array options;
            for (const auto& option : each.options)
                options.push_back({{"label", option.label}, {"description", option.description}});
            questions.push_back({{"question", each.text},
                                 {"header", each.header},
                                 {"multiple", each.multiple},
                                 {"options", std::move(options)}});
        }
        return json::object{{"question",
                             {{"id", e.request.id},
                              {"session", e.request.session_id},
                              {"questions", std::move(questions)},
                              {"reply", or_null(e.reply)}}}};
    }
    row operator()(const opencode::retry_event& e) const {
        return json::object{
            {"retry", {{"attempt", e.attempt}, {"message", e.message}, {"next_ms", e.next_ms}}}};
    }
    row operator()(const opencode::usage_event&) const { return std::nullopt; }
    row operator()(const opencode::quiet_event& e) const {
        return json::object{{"quiet", {{"for_ms", to_ms(e.lasted)}, {"status", e.status}}}};
    }
    row operator()(const opencode::interrupted_event& e) const {
        return interrupted_row(e.failure, e.attempt, e.retry_in);
    }
    row operator()(const opencode::gap_event& e) const {
        return json::object{
            {"gap",
             {{"class", retry::to_string(e.cls)}, {"for_ms", to_ms(e.lasted)}, {"missing", e.missing}}}};
    }
    row operator()(const opencode::settlement& e) const {
        json::object settled{{"outcome", to_string(e.outcome)}, {"error", nullptr}, {"text", e.text}};
        if (e.error)
            settled["error"] = {{"class", e.error->cls},
                                {"name", e.error->name},
                                {"message", e.error->message},
                                {"status", status_or_null(e.error->status)}};
        settled["why"] = {{"rule", to_string(e.rule)}, {"event", e.event}};
        if (e.text_dropped != 0)
            settled["text_dropped"] = e.text_dropped;
        if (!e.merged_into.empty())
            settled["merged_into"] = e.merged_into;
        if (e.limit != opencode::turn_limit::none)
            settled["limit"] = to_string(e.limit);
        settled["safe_to_reprompt"] = to_string(e.safe_to_reprompt);
        settled["usage"] = usage_json(e.usage);
        return json::object{{"settled", std::move(settled)}};
    }
};

// An answer that names itself otherwise, and was taken for an event stream all the same, says so.
json::object opened_row(const stream::item& item) {
    json::object told{{"status", item.head->status}, {"attempt", item.attempt}};
    if (http::media_type_of(item.head->headers) != "text/event-stream")
        told["content_type"] = item.head->find("Content-Type");
    return {{"opened", std::move(told)}};
}

} // namespace

json::value status_or_null(int status) {
    return status == 0 ? json::value() : json::value(status);
}

json::object event_row(const sse::event& e) {
    return {{"event", {{"type", e.type}, {"data", e.data}, {"id", e.id}}}};
}

json::object stream_row(const stream::item& item) {
    using kind = stream::item::kind;
    switch (item.what) {
    case kind::opened: return opened_row(item);
    case kind::event: return event_row(item.event);
    case kind::comment: return {{"comment", {{"text", item.event.data}}}};
    case kind::skipped:
        return {
            {"skipped", {{"class", retry::to_string(item.failure.cls)}, {"error", item.failure.message}}}};
    case kind::interrupted: return interrupted_row(item.failure, item.attempt, item.retry_in);
    case kind::done: return {{"done", json::object()}};
    case kind::answered: return {{"answered", {{"status", item.head->status}, {"body", item.body}}}};
    case kind::gave_up: break;
    }
    return {{"gave_up",
             {{"class", retry::to_string(item.failure.cls)},
              {"error", item.failure.message},
              {"status", status_or_null(item.failure.status)},
              {"body", item.failure.body},
              {"attempts", item.attempt}}}};
}

json::object turn_row(std::string_view session, std::string_view message) {
    return {{"turn", {{"session", session}, {"message", message}}}};
}

json::object stored_row(std::string_view session, std::string_view message) {
    return {{"stored", {{"session", session}, {"message", message}}}};
}

std::optional<json::object> agent_row(const opencode::agent_event& e) {
    return std::visit(to_row{}, e);
}

json::object with_turn(json::object row, std::string_view session, std::string_view message) {
    auto& inner = row.begin()->value().as_object();
    inner.insert({{"session", session}});
    inner.insert({{"message", message}});
    row["session"] = session;
    row["message"] = message;
    return row;
}

std::string why_not_completed(const opencode::settlement& how) {
    std::string why = "the turn ended as " + std::string(to_string(how.outcome)) + " (" +
                      std::string(to_string(how.rule)) + ")";
    if (how.limit != opencode::turn_limit::none)
        return why + ": it passed its limit (" + std::string(to_string(how.limit)) + ")";
    const auto reason = how.error ? reason_words(*how.error) : std::string(reason_words(how.rule));
    return reason.empty() ? why : why + ": " + reason;
}

} // namespace holdfast::app
