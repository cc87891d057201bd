#include "turns.hpp"

#include "rows.hpp"

#include <boost/json/object.hpp>

namespace holdfast::app {

namespace json = boost::json;

void turn_writer::feed(std::string_view data) {
    recording_.feed(data);
    for (const auto& row : recording_.take_rows())
        if (wanted(row.session))
            write(row);
}

void turn_writer::end() {
    for (const auto& check : recording_.needs_check())
        if (wanted(check.session))
            write(check);
}

void turn_writer::write(const opencode::recorded_row& row) {
    if (context_.format == output_format::text)
        return show(row);
    if (begun_.insert(row.message).second)
        context_.out.row(with_turn(turn_row(row.session, row.message), row.session, row.message));
    if (auto told = agent_row(row.event))
        context_.out.row(with_turn(std::move(*told), row.session, row.message));
}

void turn_writer::show(const opencode::recorded_row& row) {
    if (shown_ != row.message) // the rows of several turns may take turns
        text_.heading(row.message + " of " + row.session);
    shown_ = row.message;
    text_.show(row.event);
}

void turn_writer::write(const opencode::recorded_check& check) {
    if (context_.format == output_format::text) {
        text_.heading(check.message.value_or("no prompt") + " of " + check.session);
        return text_.note("events alone do not tell how it ended: " + check.why);
    }
    json::object inner{{"session", check.session}, {"message", nullptr}, {"why", check.why}};
    if (check.message)
        inner["message"] = *check.message;
    context_.out.row({{"needs_check", std::move(inner)}});
}

} // namespace holdfast::app
