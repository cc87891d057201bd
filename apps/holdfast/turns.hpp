// cat --turns: a recorded stream, read as the turns that it holds.
#pragma once

#include "command.hpp"
#include "turn_text.hpp"

#include <holdfast/opencode/recording.hpp>

#include <set>
#include <string>
#include <string_view>

namespace holdfast::app {

/// Takes the events of a recording and writes the rows of its turns.
class turn_writer {
public:
    /// `session`: only this root session's; empty: all.
    turn_writer(command_context& context, std::string session)
        : context_(context), only_(std::move(session)), text_(context.out) {}

    void feed(std::string_view data);
    /// The recording is over: writes what events alone cannot decide.
    void end();

private:
    void write(const opencode::recorded_row& row);
    void show(const opencode::recorded_row& row);
    void write(const opencode::recorded_check& check);
    [[nodiscard]] bool wanted(std::string_view session) const { return only_.empty() || only_ == session; }

    command_context& context_;
    std::string only_;
    opencode::recording recording_;
    turn_text text_;
    std::set<std::string> begun_; // prompts whose first row was written
    std::string shown_;           // text: the prompt whose rows are being shown
};

} // namespace holdfast::app
