// The queue of one turn: bounded for a slow owner, and yet no text, ask or settlement is lost.
#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/turn_queue.hpp>

#include <map>
#include <random>
#include <string>

using namespace holdfast;
using namespace holdfast::opencode;

namespace {

text_event text(std::string part, std::string delta) {
    return {std::move(part), std::move(delta)};
}

tool_event tool(int n) {
    tool_event e;
    e.id = "call_" + std::to_string(n);
    e.state = "running";
    return e;
}

permission_event ask(int n) {
    permission_event e;
    e.request.id = "per_" + std::to_string(n);
    return e;
}

template <class E>
std::size_t count(turn_queue& queue) {
    std::size_t found = 0;
    while (const auto event = queue.pop())
        found += std::holds_alternative<E>(*event);
    return found;
}

} // namespace

BOOST_AUTO_TEST_CASE(within_its_bound_everything_comes_out_as_it_went_in) {
    turn_queue queue(100, 1 << 20);
    for (int i = 0; i < 50; ++i)
        queue.push(text("p", std::to_string(i)));
    for (int i = 0; i < 50; ++i)
        BOOST_TEST((*queue.pop() == agent_event(text("p", std::to_string(i)))));
    BOOST_TEST(queue.empty());
    BOOST_TEST(queue.bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(past_its_bound_text_of_one_part_coalesces) {
    turn_queue queue(4, 1 << 20);
    std::string said;
    for (int i = 0; i < 1000; ++i) {
        said += std::to_string(i) + ' ';
        queue.push(text("p", std::to_string(i) + ' '));
        BOOST_TEST(queue.size() <= 4u);
    }
    std::string heard;
    while (const auto event = queue.pop())
        heard += std::get<text_event>(*event).delta;
    BOOST_TEST(heard == said);
}

BOOST_AUTO_TEST_CASE(past_its_bound_progress_is_thinned_oldest_first_and_counted) {
    turn_queue queue(3, 1 << 20);
    for (int i = 0; i < 10; ++i)
        queue.push(tool(i));
    BOOST_TEST(queue.size() == 3u);
    BOOST_TEST(queue.thinned() == 7u);
    BOOST_TEST(std::get<tool_event>(*queue.pop()).id == "call_7");
}

BOOST_AUTO_TEST_CASE(asks_and_settlements_are_never_dropped) {
    turn_queue queue(2, 64);
    for (int i = 0; i < 20; ++i) {
        queue.push(tool(i));
        queue.push(ask(i));
    }
    queue.push(settlement{});
    BOOST_TEST(count<permission_event>(queue) == 20u);
    turn_queue again(2, 64);
    again.push(settlement{});
    for (int i = 0; i < 20; ++i)
        again.push(ask(i));
    BOOST_TEST(count<settlement>(again) == 1u);
}

BOOST_AUTO_TEST_CASE(text_does_not_coalesce_across_a_gap) {
    turn_queue queue(2, 1 << 20);
    queue.push(text("p", "before"));
    queue.push(gap_event{});
    queue.push(text("p", "after"));
    BOOST_TEST(std::get<text_event>(*queue.pop()).delta == "before");
    BOOST_TEST(std::holds_alternative<gap_event>(*queue.pop()));
    BOOST_TEST(std::get<text_event>(*queue.pop()).delta == "after");
}

BOOST_AUTO_TEST_CASE(one_item_larger_than_the_bound_is_admitted_alone) {
    turn_queue queue(10, 100);
    queue.push(text("p", std::string(1000, 'x')));
    BOOST_TEST(queue.size() == 1u);
}

BOOST_AUTO_TEST_CASE(after_an_abort_only_the_settlement_is_kept) {
    turn_queue queue(10, 1000);
    queue.push(text("p", "said"));
    queue.push(settlement{});
    queue.keep_settlement();
    BOOST_TEST(queue.size() == 1u);
    BOOST_TEST(count<settlement>(queue) == 1u);
}

BOOST_AUTO_TEST_CASE(for_any_mixture_each_parts_text_is_whole_and_in_order) {
    for (unsigned seed = 1; seed <= 300; ++seed) {
        std::mt19937 random(seed);
        turn_queue queue(1 + random() % 8, 1 + random() % 200);
        std::map<std::string, std::string> said, heard;
        const auto take = [&] {
            if (const auto event = queue.pop())
                if (const auto* t = std::get_if<text_event>(&*event))
                    heard[t->part] += t->delta;
        };
        for (int i = 0; i < 200; ++i) {
            const std::string part(1, static_cast<char>('a' + random() % 3));
            const auto what = random() % 6;
            if (what < 3) {
                said[part] += std::to_string(i) + ' ';
                queue.push(text(part, std::to_string(i) + ' '));
            } else if (what == 3) {
                queue.push(tool(i));
            } else if (what == 4) {
                queue.push(ask(i));
            } else {
                take();
            }
        }
        while (!queue.empty())
            take();
        BOOST_TEST((heard == said), "seed " << seed);
    }
}

BOOST_AUTO_TEST_CASE(reasoning_coalesces_as_text_does_and_neither_with_the_other) {
    turn_queue queue(2, 1 << 20);
    queue.push(reasoning_event{"p", "one "});
    queue.push(text("p", "said"));
    queue.push(reasoning_event{"p", "two"});
    queue.push(text("p", " more"));
    BOOST_TEST(queue.size() == 2u);
    BOOST_TEST((*queue.pop() == agent_event(reasoning_event{"p", "one two"})));
    BOOST_TEST((*queue.pop() == agent_event(text("p", "said more"))));
    BOOST_TEST(!queue.pop().has_value());
}

BOOST_AUTO_TEST_CASE(what_waits_is_measured_by_its_text) {
    turn_queue queue(2, 1 << 20);
    queue.push(text("ab", "cde"));
    BOOST_TEST(queue.bytes() == 5u);
    queue.push(reasoning_event{"ab", "c"});
    BOOST_TEST(queue.bytes() == 8u);
    queue.push(text("ab", "fg")); // coalesces
    BOOST_TEST(queue.bytes() == 10u);
    queue.push(reasoning_event{"ab", "d"});
    BOOST_TEST(queue.bytes() == 11u);
    static_cast<void>(queue.pop());
    BOOST_TEST(queue.bytes() == 4u);
    static_cast<void>(queue.pop());
    BOOST_TEST(queue.bytes() == 0u);

    turn_queue others(10, 1 << 20);
    others.push(retry_event{1, "four", 0});
    BOOST_TEST(others.bytes() == 4u);
    others.push(tool_event{"id", "name", "state", "title"});
    BOOST_TEST(others.bytes() == 11u);
    settlement end;
    end.text = "text";
    others.push(end);
    BOOST_TEST(others.bytes() == 15u);
    others.push(gap_event{});
    BOOST_TEST(others.bytes() == 15u + sizeof(gap_event));
    others.keep_settlement();
    BOOST_TEST(others.bytes() == 4u);
}

BOOST_AUTO_TEST_CASE(each_kind_of_progress_may_be_thinned_and_nothing_else) {
    const std::pair<agent_event, bool> rows[] = {
        {tool_event{}, true},
        {retry_event{}, true},
        {usage_event{}, true},
        {quiet_event{}, true},
        {interrupted_event{}, true},
        {text_event{"p", "x"}, false},
        {reasoning_event{"p", "x"}, false},
        {permission_event{}, false},
        {question_event{}, false},
        {gap_event{}, false},
        {settlement{}, false},
    };
    for (const auto& [first, thinned] : rows) {
        turn_queue queue(1, 1 << 20);
        queue.push(first);
        queue.push(permission_event{});
        BOOST_TEST(queue.thinned() == (thinned ? 1u : 0u), first.index());
        BOOST_TEST(queue.size() == (thinned ? 1u : 2u), first.index());
    }
}

BOOST_AUTO_TEST_CASE(the_bound_is_reached_by_items_or_by_bytes) {
    turn_queue by_bytes(100, 10);
    by_bytes.push(text("p", "12345678")); // nine with its part
    by_bytes.push(text("p", "9"));
    BOOST_TEST(by_bytes.size() == 2u);
    by_bytes.push(text("p", "0"));
    BOOST_TEST(by_bytes.size() == 2u);
}

BOOST_AUTO_TEST_CASE(what_was_thinned_is_measured_no_more) {
    turn_queue queue(1, 1 << 20);
    queue.push(tool_event{"id", "name", "state", "title"});
    queue.push(text("p", "x"));
    BOOST_TEST(queue.thinned() == 1u);
    BOOST_TEST(queue.bytes() == 2u);
}
