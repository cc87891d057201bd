// Events of a server as tests compare them: what each is and which state it tells, volatile things aside.
#pragma once

#include <boost/json.hpp>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::test {

namespace json = boost::json;

inline std::string text(const json::value& v) {
    return std::string(v.as_string());
}

inline std::vector<json::object> events_in(std::string_view body) {
    std::vector<json::object> out;
    for (auto end = body.find("\n\n"); end != std::string_view::npos; end = body.find("\n\n")) {
        auto line = body.substr(0, end);
        body.remove_prefix(end + 2);
        if (line.starts_with("data: "))
            out.push_back(json::parse(line.substr(6)).as_object());
    }
    return out;
}

/// What /global/event wraps, or the event itself.
inline const json::object& event_of(const json::object& received) {
    return received.contains("payload") ? received.at("payload").as_object() : received;
}

/// One event as compared: what it is, and which state it tells.
struct token {
    std::string session;
    std::string what;
};

inline std::string describe_message(const json::object& info) {
    std::string out = "message.updated " + text(info.at("role"));
    if (info.contains("finish"))
        out += " finish=" + text(info.at("finish"));
    if (info.contains("error"))
        out += " error";
    if (info.contains("summary") && info.at("role") == "assistant")
        out += " summary";
    if (info.at("time").as_object().contains("completed"))
        out += " completed";
    return out;
}

inline std::string describe_part(const json::object& part) {
    auto out = "part " + text(part.at("type"));
    if (part.contains("synthetic"))
        out += " synthetic";
    if (part.at("type") == "tool")
        out += " " + text(part.at("tool")) + " " + text(part.at("state").at("status"));
    if (part.contains("time"))
        out += part.at("time").as_object().contains("end") ? " end" : " begin";
    return out;
}

inline bool is_volatile(std::string_view type) {
    return type == "plugin.added" || type == "catalog.updated" || type.starts_with("integration.") ||
           type.starts_with("reference.") || type == "session.updated" || type == "session.updated.1" ||
           type == "session.diff" || type == "server.heartbeat" || type == "project.updated";
}

/// Names for ids, in the order in which they are first met: prefix and number.
class namer {
public:
    explicit namer(std::string prefix) : prefix_(std::move(prefix)) {}
    std::string operator()(const json::value& id) {
        const auto number = std::to_string(names_.size() + 1);
        return names_.emplace(text(id), prefix_ + number).first->second;
    }

private:
    std::string prefix_;
    std::map<std::string, std::string> names_;
};

/// What is known of one session while its events are read.
struct told_session {
    std::string name;
    namer message{"m"};
    namer part{"p"};
    std::string last_status;
    std::string last_delta;
};

/// The event of a session as it is compared; empty: one of a row of the same.
inline std::string describe(told_session& s, const std::string& type, const json::object& properties) {
    if (type == "message.updated") {
        const auto& info = properties.at("info").as_object();
        auto out = describe_message(info) + " " + s.message(info.at("id"));
        return info.contains("parentID") ? out + " to " + s.message(info.at("parentID")) : out;
    }
    if (type == "message.part.updated") {
        const auto& part = properties.at("part").as_object();
        return describe_part(part) + " " + s.part(part.at("id")) + " of " + s.message(part.at("messageID"));
    }
    if (type == "message.part.delta") {
        const auto part = s.part(properties.at("partID"));
        return std::exchange(s.last_delta, part) == part ? "" : type + " " + part;
    }
    if (type == "session.status") {
        const auto& status = properties.at("status").as_object();
        auto what = text(status.at("type"));
        if (status.contains("attempt"))
            what += " " + std::to_string(status.at("attempt").as_int64());
        return std::exchange(s.last_status, what) == what && what == "busy" ? "" : type + " " + what;
    }
    if (type == "session.error")
        return type + " " + text(properties.at("error").at("name"));
    return type;
}

/// The events as tokens: volatile ones, repeated "busy" and repeated deltas of a part left out. Sessions are
/// named A, B, ... as they are created; events of sessions that were created before are left out.
inline std::vector<token> tokens_of(const std::vector<json::object>& events) {
    std::map<std::string, told_session> sessions;
    std::vector<token> out;
    for (const auto& outer : events) {
        const auto& e = event_of(outer);
        auto type = text(e.at("type"));
        const bool twin = type == "sync";
        if (twin)
            type = text(e.at("syncEvent").at("type"));
        if (is_volatile(type))
            continue;
        const auto& properties = (twin                       ? e.at("syncEvent").at("data")
                                  : e.contains("properties") ? e.at("properties")
                                                             : e.at("data"))
                                     .as_object();
        if (!properties.contains("sessionID")) {
            out.push_back({"", type});
            continue;
        }
        const auto id = text(properties.at("sessionID"));
        if (type == "session.created" && !sessions.contains(id)) {
            const std::string name(1, static_cast<char>('A' + sessions.size()));
            sessions[id].name = name;
        }
        const auto known = sessions.find(id);
        if (known == sessions.end())
            continue;
        auto what = twin ? "twin " + type : describe(known->second, type, properties);
        if (!what.empty())
            out.push_back({known->second.name, std::move(what)});
    }
    return out;
}

/// Order matters within a session, not between sessions.
inline std::map<std::string, std::vector<std::string>> by_session(const std::vector<token>& tokens) {
    std::map<std::string, std::vector<std::string>> out;
    for (const auto& t : tokens)
        out[t.session].push_back(t.what);
    return out;
}

inline std::string show(const std::map<std::string, std::vector<std::string>>& sessions) {
    std::string out;
    for (const auto& [name, events] : sessions)
        for (const auto& e : events)
            out += (name.empty() ? "-" : name) + " " + e + "\n";
    return out;
}

} // namespace holdfast::test
