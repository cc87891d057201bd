// Who a command says it is: by the URL, its option, or the environment.
#include <boost/test/unit_test.hpp>

#include "../apps/holdfast/credentials.hpp"

#include <cstdlib>
#include <string>

using namespace holdfast;

namespace {

/// The variables of both protocols, unset again at the end.
struct variables {
    variables() { clear(); }
    ~variables() { clear(); }
    static void clear() {
        for (const char* name : {"OPENCODE_PASSWORD", "OPENCODE_SERVER_PASSWORD", "OPENCODE_SERVER_USERNAME"})
            ::unsetenv(name);
    }
    static void set(const char* name, const char* value) { ::setenv(name, value, 1); }
};

std::string sent(const std::string& url, const std::string& user) {
    auto base = http::parse_url(url).value();
    app::add_credentials(base, user);
    return base.has_userinfo ? base.user + ':' + base.password : std::string("nothing");
}

const std::string plain = "http://127.0.0.1:4096";

} // namespace

BOOST_FIXTURE_TEST_CASE(the_url_comes_first_then_the_option_then_the_environment, variables) {
    BOOST_TEST(sent(plain, "") == "nothing");
    set("OPENCODE_PASSWORD", "p2");
    BOOST_TEST(sent("http://me:own@127.0.0.1:4096", "you:other") == "me:own");
    BOOST_TEST(sent(plain, "you:other") == "you:other");
    BOOST_TEST(sent(plain, "you") == "you:p2");
    BOOST_TEST(sent(plain, "") == "opencode:p2");
}

BOOST_FIXTURE_TEST_CASE(the_password_of_2_x_comes_before_that_of_1_x_and_is_for_the_user_opencode,
                        variables) {
    set("OPENCODE_SERVER_PASSWORD", "p1");
    BOOST_TEST(sent(plain, "") == "opencode:p1");
    set("OPENCODE_SERVER_USERNAME", "me");
    BOOST_TEST(sent(plain, "") == "me:p1");
    set("OPENCODE_PASSWORD", "p2");
    BOOST_TEST(sent(plain, "") == "opencode:p2");
}
