// A turn as a person reads it: the answer as it streams, everything else on lines of its own.
#pragma once

#include "output.hpp"

#include <holdfast/opencode/agent_event.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::app {

/// What a permission is asked for, on one line: "bash (ls -l)". Untrusted.
[[nodiscard]] std::string what_for(const opencode::permission_request& ask);

/// What a turn used: "2 steps, 36 tokens: 22 in, 14 out; $0.0042".
[[nodiscard]] std::string words_for(const opencode::turn_usage& used);

/// "a, b, c".
[[nodiscard]] std::string joined(const std::vector<std::string>& all, std::string_view between = ", ");

class turn_text {
public:
    /// `now` tells the time of day, for waits that the server announces; without it they are not shown.
    explicit turn_text(output& out, std::function<wall_time()> now = {}) : out_(out), now_(std::move(now)) {}

    /// Asks that are still open are not shown: ask() is how they are put.
    void show(const opencode::agent_event& e);
    /// A line that begins something new.
    void heading(std::string_view untrusted);
    /// One dim line of our own.
    void note(std::string_view untrusted);
    /// A prompt without a reply is with the server.
    void stored(std::string_view session, std::string_view message);
    /// The connection failed, and will be tried again.
    void trouble(std::string_view untrusted, duration retry_in);
    /// What is being asked, and how to answer. On a terminal the cursor stays behind it, and it is put again
    /// after each line that comes meanwhile.
    void ask(std::string_view untrusted);
    /// The answer was typed, and its line end with it.
    void answered() noexcept;
    /// The terminal has just put ^C where the cursor stood.
    void interrupted_at_keyboard();
    /// No answer is wanted any longer.
    void withdraw();

private:
    void show(const opencode::text_event& e);
    void show(const opencode::reasoning_event& e);
    void show(const opencode::tool_event& e);
    void show(const opencode::permission_event& e);
    void show(const opencode::question_event& e);
    void show(const opencode::retry_event& e);
    void show(const opencode::usage_event&) {}
    void show(const opencode::quiet_event& e);
    void show(const opencode::interrupted_event& e);
    void show(const opencode::gap_event& e);
    void show(const opencode::settlement& e);

    void stream(const std::string& part, std::string_view delta, bool dim);
    void end_line();
    void put_question();
    void line(style s, std::string_view untrusted);

    output& out_;
    std::function<wall_time()> now_;
    bool retry_shown_ = false; // the server waits, and when it goes on was shown
    std::string part_;         // the part that streams now
    bool line_open_ = false;   // something without a line end was written
    std::string question_;     // is being asked
    bool asking_ = false;      // the cursor stands behind it
};

} // namespace holdfast::app
