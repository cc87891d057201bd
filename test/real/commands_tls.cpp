// holdfast tail over TLS, against a server of real sockets with certificates of the test's own.
#include <boost/test/unit_test.hpp>

#include "support/certificates.hpp"
#include "support/command.hpp"
#include "support/rows.hpp"
#include "support/tls_server.hpp"

#include <string>
#include <vector>

namespace {

using namespace holdfast::test;

const std::string stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: secret\n\n";

struct tls_world {
    certificate_authority authority;
    tls_server::options setup;

    tls_world() {
        certificate_request here;
        here.alternative = "IP:127.0.0.1";
        setup.shown = authority.sign(here);
        setup.answer = stream;
    }

    static command_result tail(const tls_server& server, std::vector<std::string> more) {
        more.insert(more.begin(),
                    {"tail", server.url(), "--format", "ndjson", "--max-events", "1", "--max-attempts", "0"});
        return run_command("holdfast", more);
    }

    static void check_refused(const command_result& done, std::string_view why) {
        BOOST_TEST(done.code() == 1, done.text());
        const auto last = parse_rows(done.output).back();
        BOOST_TEST(last.kind == "gave_up");
        BOOST_TEST(text_of(last, "class") == "tls");
        BOOST_TEST(text_of(last, "error").find(why) != std::string::npos, done.text());
    }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(a_stream_is_read_from_a_server_that_the_given_authority_knows, tls_world) {
    tls_server server(setup);
    const auto done = tail(server, {"--cacert", authority.file(), "--header", "Authorization: Bearer abc"});
    BOOST_TEST(done.code() == 0, done.text());
    BOOST_TEST(rows_of_kind(parse_rows(done.output), "event").size() == 1U, done.text());
    BOOST_TEST_REQUIRE(server.requests().size() == 1U);
    BOOST_TEST(server.requests().front().find("Bearer abc") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(a_server_that_the_system_does_not_know_is_asked_nothing, tls_world) {
    tls_server server(setup);
    check_refused(tail(server, {}), "unable to get local issuer certificate");
    BOOST_TEST(server.requests().empty());
}

BOOST_FIXTURE_TEST_CASE(insecure_accepts_it_all_the_same, tls_world) {
    tls_server server(setup);
    BOOST_TEST(tail(server, {"--insecure"}).code() == 0);
}

BOOST_FIXTURE_TEST_CASE(a_server_that_wants_to_know_its_clients_is_shown_a_certificate, tls_world) {
    setup.wants_clients_of = authority.file();
    tls_server server(setup);
    certificate_request me;
    me.alternative = {};
    const auto mine = authority.sign(me);
    check_refused(tail(server, {"--cacert", authority.file()}), "certificate required");
    const auto done =
        tail(server, {"--cacert", authority.file(), "--cert", mine.certificate, "--key", mine.key});
    BOOST_TEST(done.code() == 0, done.text());
}

BOOST_FIXTURE_TEST_CASE(an_end_without_close_notify_is_a_cut_and_no_end, tls_world) {
    setup.ends_orderly = false;
    tls_server server(setup);
    const auto done = run_command("holdfast", {"tail", server.url(), "--format", "ndjson", "--max-attempts",
                                               "0", "--cacert", authority.file()});
    const auto last = parse_rows(done.output).back();
    BOOST_TEST(text_of(last, "class") == "cut", done.text());
}

BOOST_FIXTURE_TEST_CASE(a_file_that_cannot_be_used_is_a_usage_error_that_names_it, tls_world) {
    for (const char* option : {"--cacert", "--cert"}) {
        const auto done = run_command("holdfast", {"tail", "https://127.0.0.1:1/", option, "/nowhere.pem"});
        BOOST_TEST(done.code() == 2, done.text());
        BOOST_TEST_REQUIRE(done.errors.size() == 1U, done.text());
        BOOST_TEST(done.errors.front().find("/nowhere.pem") != std::string::npos, done.text());
    }
}
