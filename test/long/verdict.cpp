#include "long/verdict.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <set>

namespace holdfast::test {

namespace json = boost::json;
using opencode::outcome;

namespace {

std::string text_at(const json::object& from, std::string_view name) {
    const auto* value = from.if_contains(name);
    return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

stored_message::part read_part(const json::object& from) {
    stored_message::part part;
    part.id = text_at(from, "id");
    part.type = text_at(from, "type");
    part.text = text_at(from, "text");
    if (const auto* state = from.if_contains("state"); state != nullptr && state->is_object())
        part.tool_failed = text_at(state->get_object(), "status") == "error";
    return part;
}

stored_message read_message(const json::object& from) {
    stored_message message;
    const auto& info = from.at("info").as_object();
    message.id = text_at(info, "id");
    message.parent = text_at(info, "parentID");
    message.finish = text_at(info, "finish");
    if (const auto* summary = info.if_contains("summary"))
        message.summary = summary->is_bool() && summary->get_bool();
    if (const auto* error = info.if_contains("error"); error != nullptr && error->is_object())
        message.error = text_at(error->get_object(), "name");
    if (const auto* time = info.if_contains("time"); time != nullptr && time->is_object()) {
        message.created_ms = time->at("created").to_number<std::int64_t>();
        if (const auto* completed = time->get_object().if_contains("completed"))
            message.completed_ms = completed->to_number<std::int64_t>();
    }
    for (const auto& part : from.at("parts").as_array())
        message.parts.push_back(read_part(part.as_object()));
    return message;
}

std::vector<const stored_message*> answers_to(const std::string& prompt,
                                              const std::vector<stored_message>& stored) {
    std::vector<const stored_message*> found;
    for (const auto& each : stored)
        if (each.parent == prompt && !each.summary)
            found.push_back(&each);
    return found;
}

/// The message that decides how a prompt ended: the last of its own answers, else that of the first later
/// prompt which has one.
const stored_message* decisive(const prompt_facts& facts, const std::vector<stored_message>& stored) {
    if (const auto own = answers_to(facts.message, stored); !own.empty())
        return own.back();
    auto each = std::find_if(stored.begin(), stored.end(),
                             [&](const stored_message& m) { return m.id == facts.message; });
    for (; each != stored.end(); ++each)
        if (const auto its = answers_to(each->id, stored); each->parent.empty() && !its.empty())
            return its.back();
    return nullptr;
}

bool ended_at_a_rejection(const stored_message& answer) {
    return answer.finish == "tool-calls" && std::any_of(answer.parts.begin(), answer.parts.end(),
                                                        [](const auto& part) { return part.tool_failed; });
}

/// A prompt that is posted while an ask of an earlier one waits is never answered when that is rejected: the
/// server ends its loop, and drops it.
bool dropped_by_a_rejection(const prompt_facts& facts, const std::vector<stored_message>& stored) {
    const auto own = std::find_if(stored.begin(), stored.end(),
                                  [&](const stored_message& m) { return m.id == facts.message; });
    return own != stored.end() && std::any_of(stored.begin(), own, [&](const stored_message& m) {
               return ended_at_a_rejection(m) && m.completed_ms && *m.completed_ms > own->created_ms;
           });
}

/// What may be said of a prompt's end, given the message that decides it.
std::set<outcome> truth_of(const prompt_facts& facts, const std::vector<stored_message>& stored,
                           const stored_message* last) {
    std::set<outcome> silence;
    if (facts.killed)
        silence.insert(outcome::lost);
    if (facts.abort_asked || facts.disposed)
        silence.insert(outcome::aborted);
    if (last == nullptr) {
        if (dropped_by_a_rejection(facts, stored))
            silence.insert({outcome::lost, outcome::rejected});
        return silence;
    }
    if (last->parent != facts.message && facts.killed)
        return {outcome::lost, outcome::completed, outcome::aborted, outcome::failed, outcome::rejected};
    // Aborted before it had an answer, and what was answered was asked for after that.
    if (last->parent != facts.message && facts.abort_asked)
        return {outcome::completed, outcome::aborted, outcome::failed, outcome::rejected};
    if (last->error == opencode::aborted_error)
        return {outcome::aborted};
    if (!last->error.empty())
        return {outcome::failed};
    if (last->finish == "tool-calls") {
        // A prompt posted meanwhile takes the next step over; and a kill between two steps leaves this one
        // last.
        auto possible = silence;
        possible.insert(ended_at_a_rejection(*last) ? outcome::rejected : outcome::completed);
        return possible;
    }
    if (!last->finish.empty())
        return {outcome::completed};
    if (last->completed_ms)
        return {outcome::aborted};
    return silence;
}

std::string describe(const std::set<outcome>& truth) {
    std::string text;
    for (const auto each : truth)
        text += std::string(text.empty() ? "" : " or ") + std::string(to_string(each));
    return text.empty() ? "nothing that could be told" : text;
}

/// The text of each part: all of it after a whole answer, else no more than there was.
void judge_texts(const prompt_facts& facts, const told_facts& told, const std::vector<stored_message>& stored,
                 std::vector<complaint>& complaints) {
    const bool whole = told.how.outcome == outcome::completed;
    for (const auto* answer : answers_to(facts.message, stored))
        for (const auto& part : answer->parts) {
            if ((part.type != "text" && part.type != "reasoning") || part.text.empty())
                continue;
            const auto found = told.texts.find(part.id);
            const auto said = found == told.texts.end() ? std::string() : found->second;
            if (whole && !facts.abort_asked ? said != part.text : !part.text.starts_with(said))
                complaints.push_back({offence::wrong, "of '" + part.text.substr(0, 300) + "' it told '" +
                                                          said.substr(0, 300) + "'"});
        }
    if (whole && told.missing && !facts.killed && !facts.drops_a_try)
        complaints.push_back({offence::wrong, "it says that text is missing, and the server has all of it"});
}

} // namespace

std::string_view to_string(offence what) noexcept {
    switch (what) {
    case offence::wrong: return "wrong";
    case offence::doubled: return "double";
    case offence::hung: return "hung";
    case offence::lost_alive: return "lost while the server lived";
    }
    return "?";
}

std::string stored_message::text() const {
    std::string joined;
    for (const auto& part : parts)
        if (part.type == "text")
            joined += part.text;
    return joined;
}

std::vector<stored_message> read_stored(std::string_view body) {
    std::vector<stored_message> messages;
    json::parse_options options;
    options.max_depth = 512;
    const auto all = json::parse(body, {}, options);
    for (const auto& each : all.as_array())
        messages.push_back(read_message(each.as_object()));
    return messages;
}

std::vector<complaint> judge(const prompt_facts& facts, const told_facts& told,
                             const std::vector<stored_message>& stored) {
    std::vector<complaint> complaints;
    if (facts.runs > facts.most_runs)
        complaints.push_back(
            {offence::doubled, "the model was asked " + std::to_string(facts.runs) + " times"});
    if (told.settlements == 0) {
        complaints.push_back({offence::hung, "no settlement"});
        return complaints;
    }
    if (told.settlements > 1 || !told.settlement_last)
        complaints.push_back({offence::wrong, "settled " + std::to_string(told.settlements) +
                                                  " times, or something was told afterwards"});
    const auto& how = told.how;
    const auto* last = decisive(facts, stored);
    const auto truth = truth_of(facts, stored, last);
    if (how.outcome == outcome::lost && !facts.killed && !truth.contains(outcome::lost))
        complaints.push_back({offence::lost_alive, "called lost"});
    else if (!truth.contains(how.outcome))
        complaints.push_back(
            {offence::wrong, "called " + std::string(to_string(how.outcome)) + ", it is " + describe(truth)});
    if (how.outcome == outcome::completed && how.rule != opencode::rule::merged && last != nullptr &&
        how.text != last->text())
        complaints.push_back({offence::wrong, "settled with '" + how.text.substr(0, 300) +
                                                  "', the server has '" + last->text().substr(0, 300) + "'"});
    if (how.outcome == outcome::completed && how.rule == opencode::rule::message_finished &&
        how.text != facts.text)
        complaints.push_back({offence::wrong, "settled with '" + how.text.substr(0, 300) +
                                                  "', the model says '" + facts.text.substr(0, 300) + "'"});
    const bool at_work = last != nullptr && !last->completed_ms && last->error.empty() && !facts.killed;
    if (how.safe_to_reprompt == opencode::reprompt::yes && at_work)
        complaints.push_back(
            {offence::wrong, "called safe to prompt again, and the server is at work for it"});
    judge_texts(facts, told, stored, complaints);
    return complaints;
}

std::optional<std::int64_t> end_of(const prompt_facts& facts, const std::vector<stored_message>& stored) {
    const auto* last = decisive(facts, stored);
    return last != nullptr ? last->completed_ms : std::nullopt;
}

} // namespace holdfast::test
