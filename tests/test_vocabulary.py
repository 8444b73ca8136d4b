"""A company's own words."""

import pytest

from cjlib.vocabulary import in_own_words

WORDS = {"customer": "applicant", "purchase": "policy", "bought": "was granted one"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A customer, the Customers.", "An applicant, the Applicants."),
        ("the purchases of a customer", "the policies of an applicant"),
        ("**{customers}** customers bought", "**{customers}** applicants was granted one"),
        (
            "`customer_id` of [customers](customers.html)",
            "`customer_id` of [applicants](customers.html)",
        ),
        ("customer_id, purchased, cust", "customer_id, purchased, cust"),
    ],
)
def test_words_plurals_and_articles_are_replaced_and_fields_code_and_links_stay(text, said):
    assert in_own_words(text, WORDS) == said
    assert in_own_words(text, {}) == text


def test_what_is_said_comes_back_to_the_words_of_the_project():
    said = {"applicant": "customer", "applicants": "customers"}
    assert in_own_words("3 applicants", said) == "3 customers"
