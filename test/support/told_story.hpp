// A server's words as events, and a tracker that hears them: what the tests of turns share.
#pragma once

#include <holdfast/opencode/turn_tracker.hpp>
#include <holdfast/opencode/wire.hpp>

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace holdfast::test::told_story {

using namespace holdfast::opencode;

inline const std::string root = "ses_root";
inline const std::string child = "ses_child";

inline retry::failure failure_of(failure_class c) {
    retry::failure f;
    f.cls = c;
    return f;
}

// --- the server's words

inline message_info user(std::string id, std::int64_t created = 1) {
    message_info m;
    m.id = std::move(id);
    m.session_id = root;
    m.created_ms = created;
    return m;
}

inline message_info answer(std::string id, std::string parent, std::int64_t created = 2) {
    auto m = user(std::move(id), created);
    m.assistant = true;
    m.parent_id = std::move(parent);
    m.mode = "build";
    return m;
}

inline message_info finished(message_info m, std::string finish) {
    m.finish = std::move(finish);
    m.completed_ms = m.created_ms + 100;
    return m;
}

inline message_info failed(message_info m, std::string name) {
    m.error = api_error{std::move(name), "why", 0};
    m.completed_ms = m.created_ms + 100;
    return m;
}

inline message_info summary(message_info m) {
    m.mode = wire::mode_compaction;
    m.summary = true;
    return m;
}

inline part text(std::string message, std::string id, std::string said, bool ended) {
    part p;
    p.id = std::move(id);
    p.message_id = std::move(message);
    p.session_id = root;
    p.type = "text";
    p.text = std::move(said);
    p.ended = ended;
    return p;
}

inline part compaction(std::string message) {
    auto p = text(std::move(message), "prt_compaction", "", false);
    p.type = "compaction";
    p.automatic = true;
    return p;
}

inline part synthetic(std::string message, std::string said = "Continue") {
    auto p = text(std::move(message), "prt_synthetic", std::move(said), false);
    p.synthetic = true;
    return p;
}

inline part tool(std::string message, std::string call, std::string state, std::string title = {}) {
    auto p = text(std::move(message), "prt_" + call, "", false);
    p.type = "tool";
    p.tool = "bash";
    p.call_id = std::move(call);
    p.state = std::move(state);
    p.title = std::move(title);
    return p;
}

inline permission_request permission(std::string id, std::string session, std::string call) {
    return {std::move(id), std::move(session), "bash", {"echo hi"}, std::move(call)};
}

inline const session_status busy{session_status::kind::busy, 0, {}, 0};
inline const session_status idle{};

// --- a tracker and its story

struct story {
    tracker_options options;
    turn_tracker tracker{root, options};
    time_point now{seconds(1000)};
    std::vector<turn_tracker::output> told;
    std::set<std::string> begins; ///< answers of which no part was told yet

    explicit story(tracker_options chosen = {}) : options(chosen), tracker(root, chosen) {
        tracker.attached(now);
    }

    void collect() {
        for (auto& o : tracker.take_outputs())
            told.push_back(std::move(o));
    }
    void hear(const event& e) {
        tracker.on_event(e, now);
        collect();
    }
    void says(message_info m) {
        if (m.assistant)
            begins.insert(m.id);
        hear(message_updated{std::move(m)});
    }
    /// Before the first part of an answer its first step begins.
    void begin_step(const std::string& message) {
        if (begins.erase(message) == 0)
            return;
        auto start = text(message, "stp_" + message, "", false);
        start.type = wire::part::step_start;
        hear(part_updated{std::move(start)});
    }
    void says(part p) {
        begin_step(p.message_id);
        hear(part_updated{std::move(p)});
    }
    void delta(std::string message, std::string part, std::string more) {
        begin_step(message);
        hear(part_delta{root, std::move(message), std::move(part), "text", std::move(more)});
    }
    void status(session_status s) { hear(status_changed{root, std::move(s)}); }
    void idles() {
        status(idle);
        hear(session_idle{root});
    }
    void error(std::string name, std::string session = root) {
        hear(session_error{std::move(session), {std::move(name), "why", 0}});
    }

    void open(const std::string& id) {
        tracker.open(id, now);
        tracker.posted(id, now);
    }
    /// A prompt is posted and the server takes it.
    void prompt(const std::string& id, std::int64_t created = 1) {
        open(id);
        says(user(id, created));
        says(text(id, "prt_" + id, "ask " + id, false));
    }
    void answers_whole(const std::string& id, const std::string& parent, const std::string& said,
                       std::int64_t created = 2) {
        says(answer(id, parent, created));
        says(text(id, "prt_" + id, "", false));
        delta(id, "prt_" + id, said);
        says(text(id, "prt_" + id, said, true));
        says(finished(answer(id, parent, created), "stop"));
    }

    void break_off(failure_class c = failure_class::cut) {
        tracker.interrupted(failure_of(c), 1, seconds(1), now);
        collect();
    }
    void abort() {
        tracker.abort_requested(now);
        tracker.abort_accepted();
    }
    void attach() {
        tracker.attached(now);
        collect();
    }
    bool snap(const snapshot& s) {
        const bool merged = tracker.on_snapshot(s, tracker.begin_snapshot(), now);
        collect();
        return merged;
    }
    void pass(duration d) {
        now += d;
        tracker.tick(now);
        collect();
    }

    std::vector<settlement> settlements(const std::string& id) const {
        std::vector<settlement> all;
        for (const auto& o : told)
            if (const auto* s = std::get_if<settlement>(&o.event); s && o.message == id)
                all.push_back(*s);
        return all;
    }
    /// "completed message_finished", or "open", or how many there are.
    std::string end(const std::string& id) const {
        const auto all = settlements(id);
        if (all.empty())
            return "open";
        if (all.size() > 1)
            return std::to_string(all.size()) + " settlements";
        return std::string(to_string(all[0].outcome)) + ' ' + std::string(to_string(all[0].rule));
    }
    template <class E>
    std::vector<E> all() const {
        std::vector<E> found;
        for (const auto& o : told)
            if (const auto* e = std::get_if<E>(&o.event))
                found.push_back(*e);
        return found;
    }
    std::string said() const {
        std::string all_text;
        for (const auto& t : all<text_event>())
            all_text += t.delta;
        return all_text;
    }
    /// The kinds of what was told, in order.
    std::string kinds() const {
        static const char* const names[] = {"text",        "reasoning", "tool",   "permission",
                                            "question",    "retry",     "usage",  "quiet",
                                            "interrupted", "gap",       "settled"};
        std::string all_kinds;
        for (const auto& o : told)
            all_kinds += std::string(all_kinds.empty() ? "" : " ") + names[o.event.index()];
        return all_kinds;
    }
};

inline snapshot snap_of(session_status s, std::vector<message> messages) {
    snapshot all;
    all.status = std::move(s);
    all.messages = std::move(messages);
    return all;
}

} // namespace holdfast::test::told_story
