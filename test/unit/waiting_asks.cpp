// Approvals that wait: what is due first, and one of an id, whatever becomes of the others.
#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/waiting_asks.hpp>

#include <map>
#include <random>
#include <string>

using namespace holdfast;
using opencode::detail::waiting_ask;
using opencode::detail::waiting_asks;

namespace {

waiting_ask due_in(duration d, std::string message = "msg_1") {
    waiting_ask ask;
    ask.message = std::move(message);
    ask.due = time_point{} + d;
    return ask;
}

} // namespace

BOOST_AUTO_TEST_CASE(none_is_due_where_none_waits_or_none_has_a_time) {
    waiting_asks all;
    BOOST_TEST((all.next_due() == time_point::max()));
    all.put("per_1", waiting_ask());
    BOOST_TEST((all.next_due() == time_point::max()));
    BOOST_TEST(all.size() == 1u);
}

BOOST_AUTO_TEST_CASE(one_that_is_put_again_takes_its_own_place) {
    waiting_asks all;
    BOOST_TEST(all.put("per_1", due_in(seconds(5))));
    BOOST_TEST(!all.put("per_1", due_in(seconds(9))));
    BOOST_TEST(all.size() == 1u);
    BOOST_TEST((all.next_due() == time_point{} + seconds(9)));
}

// Against a map that is searched through.
BOOST_AUTO_TEST_CASE(whatever_happens_the_first_that_is_due_is_found) {
    std::mt19937 random(7);
    const auto upto = [&](int n) {
        return std::uniform_int_distribution<int>(0, n)(random);
    };
    waiting_asks all;
    std::map<std::string, waiting_ask> plain;
    for (int step = 0; step < 20'000; ++step) {
        const auto id = "per_" + std::to_string(upto(50));
        const auto message = "msg_" + std::to_string(upto(5));
        const auto when = upto(9) == 0 ? time_point::max() : time_point{} + seconds(upto(100));
        switch (upto(4)) {
        case 0:
        case 1: {
            auto ask = due_in({}, message);
            ask.due = when;
            BOOST_TEST_REQUIRE(all.put(id, ask) == !plain.contains(id));
            plain[id] = ask;
            break;
        }
        case 2: BOOST_TEST_REQUIRE(all.take(id).has_value() == (plain.erase(id) == 1)); break;
        case 3:
            all.due(id, when);
            if (plain.contains(id))
                plain[id].due = when;
            break;
        case 4:
            if (upto(20) == 0)
                BOOST_TEST_REQUIRE(
                    all.forget_those_of(message) ==
                    std::erase_if(plain, [&](const auto& each) { return each.second.message == message; }));
            break;
        }
        auto first = time_point::max();
        for (const auto& [name, ask] : plain)
            first = std::min(first, ask.due);
        BOOST_TEST_REQUIRE((all.next_due() == first));
        BOOST_TEST_REQUIRE(all.size() == plain.size());
        if (first != time_point::max())
            BOOST_TEST_REQUIRE((all.find(all.first_due())->due == first));
    }
}
