// The simulated server of 2.x driven by hand, in virtual time: plays what a recording's client did. And the
// events of 2.x as tests compare them.
#pragma once

#include "support/sim_player.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::test {

/// Events that stand for nothing of a session.
inline bool is_noise_of_2(std::string_view type) {
    for (const std::string_view prefix : {"plugin.", "catalog.", "agent.", "command.", "integration.",
                                          "reference.", "skill.", "websearch.", "log.", "server."})
        if (type.starts_with(prefix))
            return true;
    return false;
}

/// What is known of one session of 2.x while its events are read.
struct told_session_2 {
    std::string name;
    namer message{"m"};
    namer input{"i"};
    namer tool{"t"};
    std::string last;
};

inline std::string session_of_2(const json::object& data) {
    if (data.contains("sessionID"))
        return text(data.at("sessionID"));
    if (data.contains("form"))
        return text(data.at("form").at("sessionID"));
    return {};
}

/// The event as it is compared, with its number in the log; empty: one more delta of the same part.
inline std::string describe_2(told_session_2& s, const json::object& e) {
    auto out = text(e.at("type"));
    const auto& data = e.at("data").as_object();
    if (e.contains("durable"))
        out += " #" + std::to_string(e.at("durable").at("seq").as_int64());
    if (data.contains("assistantMessageID"))
        out += " " + s.message(data.at("assistantMessageID"));
    if (data.contains("inputID"))
        out += " " + s.input(data.at("inputID"));
    if (data.contains("ordinal"))
        out += " " + std::to_string(data.at("ordinal").as_int64());
    if (out.find("session.tool.") == 0)
        out += " " + s.tool(data.at("id"));
    for (const auto* member : {"name", "finish", "reason", "reply"})
        if (data.contains(member))
            out += " " + text(data.at(member));
    if (data.contains("attempt"))
        out += " " + std::to_string(data.at("attempt").as_int64());
    if (data.contains("error"))
        out += " " + text(data.at("error").at("type"));
    const bool is_delta = out.find(".delta") != std::string::npos;
    return std::exchange(s.last, out) == out && is_delta ? "" : out;
}

/// By session, in the order in which they are first met; under "" what names none. How often usage is told,
/// and when, is left aside, as are all that come in bursts when a server starts.
inline std::map<std::string, std::vector<std::string>> tokens_of_2(const std::vector<json::object>& events) {
    std::map<std::string, told_session_2> sessions;
    std::map<std::string, std::vector<std::string>> out;
    for (const auto& e : events) {
        const auto type = text(e.at("type"));
        if (is_noise_of_2(type) || type == "session.usage.updated")
            continue;
        const auto id = session_of_2(e.at("data").as_object());
        if (id.empty()) {
            out[""].push_back(type);
            continue;
        }
        auto& s = sessions[id];
        if (s.name.empty())
            s.name = std::string(1, static_cast<char>('A' + sessions.size() - 1));
        if (auto what = describe_2(s, e); !what.empty())
            out[s.name].push_back(std::move(what));
    }
    return out;
}

/// One word for an event that says how a turn went, with what it says; empty: none.
inline std::string word_of_2(const json::object& e) {
    static const std::map<std::string, std::string, std::less<>> words = {
        {"session.inbox.enqueued", "enqueued"},
        {"session.inbox.delivered", "delivered"},
        {"session.inbox.cancelled", "cancelled"},
        {"session.input.admitted", "enqueued"},
        {"session.input.promoted", "delivered"},
        {"session.synthetic", "synthetic"},
        {"session.execution.started", "started"},
        {"session.execution.succeeded", "succeeded"},
        {"session.execution.failed", "failed"},
        {"session.execution.interrupted", "interrupted"},
        {"session.step.started", "step"},
        {"session.step.ended", "ended"},
        {"session.step.failed", "broken"},
        {"session.retry.scheduled", "retry"},
        {"session.tool.success", "tool"},
        {"session.tool.failed", "tool-failed"},
        {"session.compaction.started", "compaction"},
        {"session.compaction.ended", "compacted"},
        {"session.compaction.failed", "compaction-failed"},
        {"permission.asked", "asked"},
        {"permission.replied", "replied"},
        {"form.created", "form"},
        {"form.replied", "form-replied"},
        {"form.cancelled", "form-cancelled"},
        {"session.deleted", "deleted"},
    };
    const auto found = words.find(text(e.at("type")));
    if (found == words.end())
        return {};
    auto out = found->second;
    const auto& data = e.at("data").as_object();
    for (const auto* member : {"finish", "reason", "reply"})
        if (data.contains(member))
            out += ":" + text(data.at(member));
    if (data.contains("error"))
        out += ":" + text(data.at("error").at("type"));
    return out;
}

/// What the events say of one session: "enqueued started delivered step ended:stop succeeded".
inline std::string story_of_2(const std::vector<json::object>& events, std::string_view session) {
    std::string out;
    for (const auto& e : events)
        if (session_of_2(e.at("data").as_object()) == session)
            if (const auto word = word_of_2(e); !word.empty())
                out += (out.empty() ? "" : " ") + word;
    return out;
}

/// Plays a client's actions on the model.
class player_2 : public world {
public:
    explicit player_2(opencode_sim::options settings = {}) : world(of_2(std::move(settings))) {}

    opencode_sim::connection_id stream = 0;
    std::string session;

    static opencode_sim::options of_2(opencode_sim::options settings) {
        settings.protocol = 2;
        return settings;
    }
    static std::string path(const std::string& session, std::string_view rest = {}) {
        return "/api/session/" + session + std::string(rest);
    }

    void listen() { stream = subscribe("/api/event"); }
    json::value get(std::string_view target) { return call("GET", target).parsed(); }
    json::value data(std::string_view target) { return get(target).at("data"); }

    std::string create_2(std::string_view body = "{}") {
        return text(call("POST", "/api/session", body).parsed().at("data").at("id"));
    }
    response post(const std::string& session, std::string_view text, std::string_view more = {}) {
        return call("POST", path(session, "/prompt"),
                    "{\"text\":" + json::serialize(json::value(text)) + std::string(more) + "}");
    }
    /// A new session with this prompt.
    void begin(std::string_view tag, std::string_view more = {}, std::string_view session_body = "{}") {
        session = create_2(session_body);
        post(session, tag, more);
    }
    void plain_end() { run_for(2s); }
    /// Of the session that was begun, as the stream told it.
    std::string told() { return told(session); }
    std::string told(const std::string& id) { return story_of_2(events(stream), id); }
    /// The rows of the list of messages, the oldest first.
    json::array rows() { return data(path(session, "/message?order=asc")).as_array(); }
    /// "user assistant:stop idle:succeeded".
    std::string row_words() {
        std::string out;
        for (const auto& row : rows()) {
            out += (out.empty() ? "" : " ") + text(row.at("type"));
            for (const auto* member : {"finish", "outcome", "status"})
                if (row.as_object().contains(member))
                    out += ":" + text(row.at(member));
            if (row.at("type") == "assistant" && !row.at("time").as_object().contains("completed"))
                out += ":open";
        }
        return out;
    }
    std::string inbox_texts() {
        const auto waiting = data(path(session, "/inbox"));
        std::string out;
        for (const auto& item : waiting.as_array())
            out += (out.empty() ? "" : ", ") + text(item.at("payload").at("text"));
        return out;
    }
    bool is_active() { return data("/api/session/active").as_object().contains(session); }
    /// What the model says became of each prompt: "completed aborted".
    std::string outcomes() {
        std::string out;
        for (const auto& t : sim.truth())
            out += (out.empty() ? "" : " ") + std::string(to_string(t.outcome)) +
                   (t.merged_into.empty() ? "" : "(merged)");
        return out;
    }
    void restart(opencode_sim::stop how = opencode_sim::stop::kill) {
        sim.restart(now, how);
        pump();
        run_for(5s);
    }
    std::size_t seen(std::string_view type) { return count(stream, type); }
    void until_seen(std::string_view type, std::size_t times = 1) {
        until([&] { return seen(type) >= times; });
    }
    response interrupt(const std::string& id) { return call("POST", path(id, "/interrupt")); }
    void interrupt() { (void)interrupt(session); }

    /// The first permission or form that any session asks.
    json::object asked(bool form = false) {
        json::array all;
        const std::string route = form ? form_route : "/api/permission/request";
        until([&] {
            all = data(route).as_array();
            return !all.empty() || (run_for(1ms), false);
        });
        return all.front().as_object();
    }
    response reply(std::string_view what, std::string_view more = {}) {
        const auto a = asked();
        run_for(5ms);
        return call("POST", path(text(a.at("sessionID")), "/permission/" + text(a.at("id")) + "/reply"),
                    "{\"" + decision + "\":\"" + std::string(what) + "\"" + std::string(more) + "}");
    }
    std::size_t tapped(std::string_view type) {
        return static_cast<std::size_t>(std::count_if(
            tap.begin(), tap.end(), [&](const json::object& e) { return e.at("type").as_string() == type; }));
    }
    /// Whoever listens, and whether anybody does.
    void start_tap() {
        sim.on_event([this](std::string_view, std::string_view payload) {
            tap.push_back(json::parse(payload).as_object());
        });
    }

    std::vector<json::object> tap;
    std::string form_route = "/api/form";
    std::string decision = "decision";
};

} // namespace holdfast::test
