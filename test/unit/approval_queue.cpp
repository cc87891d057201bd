#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/approval_queue.hpp>

#include <string>

using namespace holdfast::opencode;

namespace {

permission_event permission(std::string id, std::optional<std::string> reply = {}, bool by_rule = false) {
    permission_event e;
    e.request.id = std::move(id);
    e.reply = std::move(reply);
    e.by_rule = by_rule;
    return e;
}

question_event asked(std::string id, std::optional<std::string> reply = {}) {
    question_event e;
    e.request.id = std::move(id);
    e.reply = std::move(reply);
    return e;
}

/// "per_1 per_2=once", and nothing is left.
std::string all_of(detail::approval_queue& queue) {
    std::string all;
    while (const auto e = queue.pop())
        std::visit(
            [&](const auto& each) {
                all += (all.empty() ? "" : " ") + each.request.id + (each.reply ? '=' + *each.reply : "");
            },
            *e);
    return all;
}

} // namespace

BOOST_AUTO_TEST_CASE(what_is_answered_before_it_is_taken_is_not_delivered) {
    detail::approval_queue queue(10);
    queue.push(permission("per_1"));
    queue.push(asked("que_1"));
    queue.push(permission("per_2"));
    queue.push(permission("per_1", "withdrawn"));
    queue.push(asked("que_1", "answered"));
    BOOST_TEST(all_of(queue) == "per_2");
}

BOOST_AUTO_TEST_CASE(the_answer_to_what_was_taken_is_delivered) {
    detail::approval_queue queue(10);
    queue.push(permission("per_1"));
    BOOST_TEST(all_of(queue) == "per_1");
    queue.push(permission("per_1", "once"));
    BOOST_TEST(all_of(queue) == "per_1=once");
}

BOOST_AUTO_TEST_CASE(what_a_rule_answers_is_delivered_as_answered_and_the_oldest_give_way) {
    detail::approval_queue queue(2);
    queue.push(permission("per_0"));
    for (const char* id : {"per_1", "per_2", "per_3"})
        queue.push(permission(id, "once", true));
    BOOST_TEST(all_of(queue) == "per_0 per_2=once per_3=once");
}
