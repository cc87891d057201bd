// The main() of a test program, in one place: a header that is compiled ahead must not decide whether it has
// one.
#define BOOST_TEST_MODULE holdfast
#include <boost/test/unit_test.hpp>
