-- The steps of every order as events: placed, approved, shipped, delivered (late or in time against
-- the promised day), reviewed. The feeling of a delivery is the score its review gives.
WITH orders AS (
    -- The clocks of shop, payment and carrier differ: a parcel counts as shipped when it was
    -- ordered at the earliest, the payment as approved when it was shipped at the latest. Else the
    -- order would come after its delivery began, as if the customer had come back to buy again.
    SELECT o.*, c.customer_unique_id,
        CASE WHEN strptime(order_delivered_carrier_date, '%m/%d/%Y %H:%M')
                < strptime(order_purchase_timestamp, '%m/%d/%Y %H:%M')
            THEN order_purchase_timestamp ELSE order_delivered_carrier_date END AS shipped_at,
        CASE WHEN strptime(order_approved_at, '%m/%d/%Y %H:%M')
                > strptime(shipped_at, '%m/%d/%Y %H:%M')
            THEN shipped_at ELSE order_approved_at END AS approved_at
    FROM read_csv('olist_orders_dataset.csv', all_varchar = true) AS o
    JOIN read_csv('olist_customers_dataset.csv', all_varchar = true) AS c USING (customer_id)
),
payments AS (
    SELECT
        order_id,
        sum(CAST(payment_value AS DECIMAL(18, 2))) AS amount,
        arg_max(payment_type, CAST(payment_value AS DECIMAL(18, 2))) AS payment_type
    FROM read_csv('olist_order_payments_dataset.csv', all_varchar = true)
    GROUP BY order_id
),
reviews AS (
    SELECT order_id, review_score, review_answer_timestamp
    FROM read_csv('olist_order_reviews_dataset.csv', all_varchar = true)
),
steps AS (
    SELECT order_id, 'order_placed' AS touchpoint, order_purchase_timestamp AS happened_at,
        NULL AS review_score FROM orders
    UNION ALL
    SELECT order_id, 'order_approved', approved_at, NULL FROM orders
    UNION ALL
    SELECT order_id, 'order_shipped', shipped_at, NULL FROM orders
    UNION ALL
    SELECT order_id,
        CASE WHEN strptime(order_delivered_customer_date, '%m/%d/%Y %H:%M')
                >= strptime(order_estimated_delivery_date, '%m/%d/%Y %H:%M') + INTERVAL 1 DAY
            THEN 'delivered_late' ELSE 'delivered_in_time' END,
        order_delivered_customer_date, score
    FROM orders LEFT JOIN (
        SELECT order_id, min(review_score) AS score FROM reviews GROUP BY order_id
    ) AS worst USING (order_id)
    UNION ALL
    SELECT order_id, 'review', review_answer_timestamp, review_score FROM reviews
)
SELECT
    o.customer_unique_id, s.touchpoint, s.happened_at, s.review_score, s.order_id, p.payment_type,
    CASE WHEN s.touchpoint = 'order_placed' THEN p.amount END AS amount
FROM steps AS s
JOIN orders AS o USING (order_id)
LEFT JOIN payments AS p USING (order_id)
WHERE s.happened_at IS NOT NULL AND s.happened_at <> ''
