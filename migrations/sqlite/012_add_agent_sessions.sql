-- +goose Up

-- There are no agents here whose sessions could outlive them.
SELECT 1;
